"""A segmentation challenge set: pairs of words whose meeting point is the inside of a token.

After the idea of arXiv:2405.17067, built automatically: a vocabulary entry z is cut in two, x + y, and a word that ends in x is put
before a word that begins with y, without a space. The tokenizer is tempted to take z and to step over the true boundary. The same words with
a space between them are the control, which is stepped over only by tokens that span words.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tokgraft import documents
from tokgraft.artifacts import write_files
from tokgraft.errors import ConfigError, DataError
from tokgraft.intrinsic.boundaries import starts
from tokgraft.intrinsic.counts import Text
from tokgraft.intrinsic.inputs import Subject, begin, read_pages
from tokgraft.logs import log

WORDS = 5000
LONGEST_PART = 12


@dataclass(frozen=True)
class Item:
    """A challenge.

    Attributes:
        text: Carrier with the two words joined.
        control: The same with a space between them.
        boundary: Where the second word begins in `text` (code points).
        first, second: The words.
        token: The vocabulary entry that tempts.
    """

    text: str
    control: str
    boundary: int
    first: str
    second: str
    token: str


def candidates(subject: Subject, words: Mapping[str, int], most: int) -> list[Item]:
    """Challenges for a tokenizer, the longest tempting tokens first, at most one a token.

    Args:
        subject: The tokenizer.
        words: Word -> how often it occurs; the frequent ones are used.
        most: How many items at most.

    Raises:
        DataError: The words and the vocabulary give none.
    """
    chosen = sorted((word for word in words if word.isalpha() and len(word) > 2), key=lambda word: (-words[word], word))[:WORDS]
    ends, begins = _by_part(chosen, last=True), _by_part(chosen, last=False)
    whole = set(chosen)
    tempting = sorted({text for text in _letters(subject) if len(text) > 1}, key=lambda text: (-len(text), text))
    carrier = chosen[:2] if len(chosen) > 1 else ["", ""]
    found = []
    for token in tempting:
        if token in whole:
            continue  # as a word of its own it tempts nobody: the split before and after it is right
        middle = sorted(range(1, len(token)), key=lambda cut: (abs(2 * cut - len(token)), cut))
        pair = next(((ends[token[:cut]], begins[token[cut:]]) for cut in middle if token[:cut] in ends and token[cut:] in begins), None)
        if pair and pair[0] + pair[1] not in whole:
            found.append(_item(*pair, token, *carrier))
        if len(found) == most:
            break
    if not found:
        raise DataError(
            "no token of the vocabulary can be made of two words of the text", "give more text of the language, or its word list"
        )
    return found


def _item(first: str, second: str, token: str, before: str, after: str) -> Item:
    return Item(
        f"{before} {first}{second} {after}", f"{before} {first} {second} {after}", len(before) + 1 + len(first), first, second, token
    )


def crossing(subject: Subject, items: Sequence[Item]) -> list[bool]:
    """Whether the tokenizer steps over the boundary of each item: no token begins at the second word."""
    encoded = subject.tokenizer.encode_batch([item.text for item in items], add_special_tokens=False)
    return [item.boundary not in starts(item.text, encoding.offsets) for item, encoding in zip(items, encoded)]


def control_crossing(subject: Subject, items: Sequence[Item]) -> list[bool]:
    """Whether the tokenizer steps over the boundary of each control, which has a space there."""
    encoded = subject.tokenizer.encode_batch([item.control for item in items], add_special_tokens=False)
    return [item.boundary + 1 not in starts(item.control, encoding.offsets) for item, encoding in zip(items, encoded)]


def shuffled(items: Sequence[Item], seed: int = 0) -> list[Item]:
    """Items with the second words paired at random: how often a boundary is crossed where no token spans it by design."""
    seconds = [item.second for item in items]
    random.Random(seed).shuffle(seconds)
    return [_item(item.first, second, "", *_carrier(item)) for item, second in zip(items, seconds)]


def _carrier(item: Item) -> tuple[str, str]:
    before = item.text[: item.boundary - len(item.first) - 1]
    return before, item.text[item.boundary + len(item.second) + 1 :]


def _by_part(words: Sequence[str], last: bool) -> dict[str, str]:
    """End or beginning -> the most frequent longer word that has it."""
    found: dict[str, str] = defaultdict(str)
    for word in words:
        for size in range(1, min(len(word), LONGEST_PART)):
            part = word[-size:] if last else word[:size]
            found.setdefault(part, word)
    return dict(found)


def _letters(subject: Subject) -> list[str]:
    """Tokens that are letters without a space before them."""
    vocabulary = subject.vocabulary
    found = []
    for number in vocabulary.text_ids:
        text = vocabulary[number].text.decode("utf-8", "replace")
        if text.isalpha():
            found.append(text)
    return found


def challenge(subject: Subject, words: Mapping[str, int], most: int) -> tuple[dict[str, Any], list[Item]]:
    """Rates, and the items that the tokenizer falls for.

    Returns:
        `crossing_rate` over all candidates, `random_rate` over the same words paired at random, `control_rate` with a space between them.
    """
    tried = candidates(subject, words, most)
    fallen = crossing(subject, tried)
    rates = {
        "tokenizer": subject.name,
        "candidates": len(tried),
        "crossing_rate": round(sum(fallen) / len(tried), 6),
        "random_rate": round(sum(crossing(subject, shuffled(tried))) / len(tried), 6),
        "control_rate": round(sum(control_crossing(subject, tried)) / len(tried), 6),
    }
    return rates, [item for item, fell in zip(tried, fallen) if fell]


def challenge_corpus(
    tokenizer: Path, corpus: Path, items: int = 500, max_bytes: int = 4_000_000, out: Path | None = None
) -> dict[str, Any]:
    """The challenge of a tokenizer folder with words of a corpus' train pages; writes the set as JSON lines.

    Raises:
        ConfigError, DataError: The language has no spaces between words, or there are too few words.
    """
    if items < 1:
        raise ConfigError(f"--items is {items}", "ask for one item at least")
    files = [Path(out)] if out is not None else []
    begin(files, {"tokenizer": Path(tokenizer), "corpus": Path(corpus)})
    facts = documents.about(Path(corpus))
    if facts.words == "none":
        raise DataError(f"{facts.slug} is written without spaces, so the corpus does not say what its words are",
                        "use tokgraft.intrinsic.adversarial.challenge with a word list of the language")  # fmt: skip
    subject = Subject.load(Path(tokenizer))
    rates, fallen = challenge(subject, Text.read(read_pages(Path(corpus), "train", max_bytes), facts.words).words, items)
    log.info(
        "%d pairs of words: %.1f %% crossed, %.1f %% when paired at random, %.1f %% with a space between them",
        rates["candidates"], 100 * rates["crossing_rate"], 100 * rates["random_rate"], 100 * rates["control_rate"],
    )  # fmt: skip
    write_files(dict.fromkeys(files, "".join(json.dumps(asdict(item), ensure_ascii=False) + "\n" for item in fallen)))
    for path in files:
        log.info("wrote %d items to %s", len(fallen), path)
    return rates
