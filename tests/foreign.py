"""Damage small valid files in many ways, the same ways in every run, for readers that must survive them."""

from __future__ import annotations

import json
import random
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tokgraft.errors import TokgraftError

MEMORY = 4 << 30  # bytes that a reader of a file of some kilobytes may take beyond what the process has mapped


def damaged(content: bytes, count: int, seed: int = 0) -> Iterator[bytes]:
    """`count` versions of a file: bytes changed, cut off, taken out, put in twice, or whole fields of extreme values."""
    chance = random.Random(seed)
    for number in range(count):
        changed = bytearray(content)
        at = chance.randrange(len(content))
        kind = number % 6
        if kind == 0:
            for _ in range(chance.choice((1, 1, 2, 8))):
                changed[chance.randrange(len(changed))] = chance.randrange(256)
        elif kind == 1:
            del changed[at:]
        elif kind == 2:
            del changed[at : at + chance.choice((1, 4, 8, 100))]
        elif kind == 3:
            changed[at:at] = changed[at : at + chance.choice((1, 4, 8, 100))]
        else:
            width = chance.choice((1, 4, 8))
            value = chance.choice((0, 1, 2 ** (8 * width) - 1, 2 ** (8 * width - 1), 2 ** (8 * width - 2), 2**20))
            changed[at : at + width] = (value % 2 ** (8 * width)).to_bytes(width, chance.choice(("little", "little", "big")))
        yield bytes(changed)


WRONG: list[Any] = [None, True, -1, 0, 10**9, 2**70, 0.5, float("nan"), "", "x", "\ud800", "\u2028", [], [None], {}, {"x": None}]


def misdescribed(value: Any, count: int, seed: int = 0) -> Iterator[bytes]:
    """`count` versions of a JSON document in which one value, anywhere, is another or is missing."""
    chance = random.Random(seed)
    for _ in range(count):
        changed = json.loads(json.dumps(value))
        places = list(_places(changed))
        holder, key = chance.choice(places)
        if chance.random() < 0.2:
            del holder[key]
        else:
            holder[key] = chance.choice(WRONG)
        yield json.dumps(changed).encode()


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """(container, key) of values at every depth; of long lists and objects only the first few, so that no part outweighs the others."""
    pairs = list(value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ())
    for key, inner in pairs[:8]:
        yield value, key
        yield from _places(inner)


@contextmanager
def little_memory() -> Iterator[None]:
    """A MemoryError for who asks for much more memory than there is mapped now."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as handle:
        mapped = int(handle.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + MEMORY, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def survives(read: Callable[[], object]) -> bool:
    """Whether the reader took the file; a TokgraftError is the one way to refuse it."""
    try:
        read()
    except TokgraftError:
        return False
    return True
