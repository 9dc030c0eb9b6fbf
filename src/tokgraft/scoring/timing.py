"""Time two models on the same text by turns: how fast each reads it, and how fast each writes what follows.

What is written is the text itself, not what the model would say: a model that has just got a new vocabulary may repeat one token or stop, and
its speed would then be that of its mistakes. Both models get the same bytes; that they are fewer tokens for one of them is the point.
"""

from __future__ import annotations

import hashlib
import inspect
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from tokgraft import artifacts
from tokgraft.errors import ConfigError, DataError, ModelError, UnsupportedError
from tokgraft.logs import log
from tokgraft.scoring import alone, results
from tokgraft.scoring.device import find_device
from tokgraft.scoring.heldout import Held, in_hash_order, read_held
from tokgraft.scoring.speed import KIND, SIDES, Repeat, Run, Speed, Timing, Which
from tokgraft.scoring.tasks.bits_per_byte import cut_text

LIBRARIES = ("torch", "transformers", "tokenizers")
PROMPT_BYTES, OUTPUT_BYTES = 320, 128  # together they fit a context of 512 even where every byte is a token
SPARE = 8  # tokens that a tokenizer may add to a text: prefix, marks of the beginning
MAX_PASSAGES = 256
REPEATS = 7
SECONDS = 1.0  # least time of a repeat of the original model


@dataclass(frozen=True)
class Passage:
    """A piece of held-out text: what is read, and what is then written. A token never spans the two."""

    prompt: str
    output: str


class TimedModel:
    """A model with its tokenizer, ready to be timed.

    Args:
        model: Causal language model in eval mode, on its device.
        tokenizer: Its tokenizer.
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        from tokgraft.models.bits import prefix_token

        self.model, self.tokenizer, self.prefix = model, tokenizer, prefix_token(tokenizer)
        # As `generate` does: the head is asked about the last position only.
        takes = "logits_to_keep" in inspect.signature(model.forward).parameters
        self.last: dict[str, Any] = {"logits_to_keep": 1} if takes else {}

    def ids(self, text: str) -> list[int]:
        """Token ids of a text, without special tokens."""
        return list(self.tokenizer.encode(text, add_special_tokens=False, verbose=False))

    def run(self, passages: Sequence[Passage]) -> Run:
        """Read and write passages one after the other, at batch size 1."""
        reading = generation = 0.0
        read = written = 0
        for passage in passages:
            output = self.ids(passage.output)
            prompt, first, second = self._time(passage.prompt, output)
            reading, generation = reading + first, generation + second
            read, written = read + prompt, written + len(output)
        sizes = [sum(len(getattr(passage, part).encode()) for passage in passages) for part in ("prompt", "output")]
        return Run(
            reading=Timing(bytes=sizes[0], tokens=read, seconds=reading),
            generation=Timing(bytes=sizes[1], tokens=written, seconds=generation),
        )

    def _time(self, prompt: str, output: Sequence[int]) -> tuple[int, float, float]:
        """Tokens of the prompt, seconds of tokenising and reading it, seconds of writing."""
        import torch

        device = self.model.device
        sync: Callable[[], None] = torch.cuda.synchronize if device.type == "cuda" else lambda: None
        with torch.inference_mode():
            sync()
            start = time.perf_counter()
            ids = [self.prefix, *self.ids(prompt)]
            out = self.model(input_ids=torch.tensor([ids], device=device), use_cache=True, **self.last)
            int(out.logits[0, -1].argmax())  # generation looks at each token before it goes on
            middle = time.perf_counter()
            for token in output:
                out = self.model(
                    input_ids=torch.tensor([[token]], device=device), past_key_values=out.past_key_values, use_cache=True, **self.last
                )
                int(out.logits[0, -1].argmax())
            end = time.perf_counter()
        return len(ids), max(middle - start, 1e-9), max(end - middle, 1e-9)


def speed(
    base: Path,
    corpus: Path,
    out: Path,
    *,
    model: Path | None = None,
    tokenizer: Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    repeats: int = REPEATS,
    seconds: float = SECONDS,
    patience: float = alone.PATIENCE,
    trust_remote_code: bool = False,
) -> Speed:
    """Measure how fast a model is with its own vocabulary and with a new one, and write a speed artifact.

    Args:
        base: Folder of the original model with its own tokenizer.
        corpus: Corpus artifact; its test pages are what is read and written.
        out: Folder to write.
        model: Folder of the adapted model; or
        tokenizer: Folder of the new tokenizer: the original model is given tables of that size. How fast a model is depends on shapes and
            tokens, not on the values in its rows.
        device: `cpu`, `cuda`, ... or `auto`: CUDA when there is one.
        threads: CPU threads (default: every core that this process may use).
        repeats: Paired repeats; each goes over other passages as long as there are any.
        seconds: Least time of one repeat of the original model; as many passages are taken as that needs.
        patience: Seconds to wait, in all, until other processes are quiet.
        trust_remote_code: Run Python code that the folders bring.

    Returns:
        What was measured.

    Raises:
        ConfigError: Neither or both of `model` and `tokenizer`; fewer than two repeats.
        DataError: The test pages hold less text than one passage.
        ModelError: A folder is not a whole model that fits its tokenizer; its context is too short.
        UnsupportedError: A model is no causal one.
    """
    if (model is None) == (tokenizer is None):
        raise ConfigError("what is to be compared with the original is not clear", "give either --model or --tokenizer")
    if repeats < 2:
        raise ConfigError(f"--repeats {repeats} gives no interval", "give at least 2, better 5 or more")
    held = read_held(corpus)
    inputs = {"base": base, "corpus": corpus, **{role: path for role, path in (("model", model), ("tokenizer", tokenizer)) if path}}
    settings = {"repeats": repeats, "seconds": seconds, "prompt_bytes": PROMPT_BYTES, "output_bytes": OUTPUT_BYTES}
    with artifacts.create(out, KIND, settings, inputs, LIBRARIES) as folder, alone.only_one():
        sides = _sides(base, model, tokenizer, device, threads, trust_remote_code)
        texts = passages(held, min(_context(side.model) for side in sides))
        results.write_lines(folder / "passages.jsonl", _described(texts, sides))
        watch = alone.Watch(os.cpu_count() or 1, _counters(sides[0].model.device), patience=patience)
        found = measure(sides[0], sides[1], texts, watch, repeats, seconds)
        found.write(folder)
    return found


def passages(held: Held, context: int) -> list[Passage]:
    """Passages of the test pages, in an order that depends on the names of the pages only; for a short context shorter ones.

    Raises:
        DataError: There is less text than one passage.
        ModelError: The context is too short for any.
    """
    room = min(PROMPT_BYTES + OUTPUT_BYTES, context - SPARE)
    if room < 64:
        raise ModelError(f"a context of {context} tokens is too short to measure speed", f"it must hold at least {64 + SPARE}")
    ordered = in_hash_order(held.pages, lambda page: page.id, KIND)
    text, enough = "", room * (MAX_PASSAGES + 1)
    for paragraph in (paragraph for page in ordered for paragraph in page.paragraphs):
        if len(text) > enough:
            break
        text += f"{paragraph.text}\n"
    limit = room * PROMPT_BYTES // (PROMPT_BYTES + OUTPUT_BYTES)
    found = list(islice(_cut(text, room, limit), MAX_PASSAGES))
    if not found:
        raise DataError(f"the test pages of {held.slug} hold less than {room} bytes of text", "give a larger corpus")
    return found


def _cut(text: str, room: int, limit: int) -> Iterator[Passage]:
    for piece in cut_text(text, room):
        if len(piece.encode()) >= 0.8 * room:  # the last one is what was left
            prompt = next(cut_text(piece, limit))
            yield Passage(prompt, piece[len(prompt) :])


def measure(
    before: TimedModel, after: TimedModel, texts: Sequence[Passage], watch: alone.Watch, repeats: int = REPEATS, seconds: float = SECONDS
) -> Speed:
    """Time both models by turns, when the machine is quiet.

    Within a repeat the two go over the same passages, one right after the other, and which is first changes from repeat to repeat: what
    slows the machine down for a while slows both.

    Args:
        before, after: The two models.
        texts: Passages; repeats walk through them, and begin again when there are too few.
        watch: Looks after the machine.
        repeats: Paired repeats.
        seconds: Least time of one repeat of `before`.
    """
    import torch

    made, state = watch.run(lambda: _repeats({"before": before, "after": after}, texts, repeats, seconds))
    count, measured = made or (0, [])
    return Speed(
        alone=state, device=before.model.device.type, cores=watch.cores, threads=torch.get_num_threads(), passages=count, repeats=measured
    )


def _counters(place: Any) -> Callable[[], alone.Reading]:
    return lambda: alone.counters((place.index or 0) if place.type == "cuda" else None)


def _repeats(sides: dict[Which, TimedModel], texts: Sequence[Passage], repeats: int, seconds: float) -> tuple[int, list[Repeat]]:
    """Passages of a repeat, and the repeats."""
    for side in sides.values():  # what is compiled, allocated or looked up at the first call
        side.run(texts[:1])
    trial = sides["before"].run(texts[:1])
    once = trial.reading.seconds + trial.generation.seconds
    count = max(1, min(MAX_PASSAGES, math.ceil(seconds / once)))
    log.info("%d repeats of %d passages", repeats, count)
    source = cycle(texts)
    return count, [_repeat(sides, list(islice(source, count)), number) for number in range(repeats)]


def _repeat(sides: dict[Which, TimedModel], texts: Sequence[Passage], number: int) -> Repeat:
    order = SIDES if number % 2 == 0 else SIDES[::-1]
    return Repeat(**{name: sides[name].run(texts) for name in order})


def _sides(
    base: Path, model: Path | None, tokenizer: Path | None, device: str, threads: int | None, trust_remote_code: bool
) -> tuple[TimedModel, TimedModel]:  # fmt: skip
    import torch

    from tokgraft.models.io import check_model, load_model, load_tokenizer
    from tokgraft.models.kinds import predicts_next

    torch.set_num_threads(threads or len(os.sched_getaffinity(0)))
    place = find_device(device)
    found = []
    for folder, spoken in ((base, base), (model or base, model or tokenizer or base)):
        words = load_tokenizer(spoken, trust_remote_code=trust_remote_code)
        weights = load_model(folder, trust_remote_code=trust_remote_code)
        if not predicts_next(weights):
            raise UnsupportedError(f"{folder} is a masked language model, which does not generate", "give a causal one")
        if folder != spoken:
            _resize(weights, len(words))
        else:
            check_model(weights, words)
        found.append(TimedModel(weights.to(place), words))
    return found[0], found[1]


def _resize(model: Any, rows: int) -> None:
    """Give a model tables of another size; the new rows are copies of old ones, in turn."""
    import numpy as np

    from tokgraft.models.tables import embedding_tables, further_columns, head_bias, set_embedding_tables

    E, U = embedding_tables(model)
    take = np.arange(rows) % len(E)
    others = (U, head_bias(model), further_columns(model))
    set_embedding_tables(model, E[take], *(None if table is None else table[take] for table in others))


def _context(model: Any) -> int:
    """Tokens that a model can look back on; a large number where the config does not say."""
    return int(getattr(model.config.get_text_config(), "max_position_embeddings", None) or 1_000_000)


def _described(texts: Sequence[Passage], sides: Sequence[TimedModel]) -> list[dict[str, Any]]:
    """What was read and written, without the text: hash, bytes, tokens of each model."""
    return [
        {
            "sha256": hashlib.sha256((text.prompt + text.output).encode()).hexdigest(),
            "prompt_bytes": len(text.prompt.encode()),
            "output_bytes": len(text.output.encode()),
            **{
                name: {"prompt_tokens": 1 + len(side.ids(text.prompt)), "output_tokens": len(side.ids(text.output))}
                for name, side in zip(SIDES, sides, strict=True)
            },
        }
        for text in texts
    ]
