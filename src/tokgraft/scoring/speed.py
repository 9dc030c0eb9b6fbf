"""How fast a model reads and writes, in bytes of text: tokens per second would reward a tokenizer for using more of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tokgraft.scoring.tasks.bits_per_byte import cut_text

PROMPTS, PROMPT_BYTES = 3, 200
OUTPUT_BYTES = {"cpu": 32, "cuda": 512}
REPEATS = {"cpu": 1, "cuda": 5}
WARM_UP = {"cpu": 1, "cuda": 3}


@dataclass(frozen=True)
class Speed:
    """Throughput at batch size 1; depends on the machine, so it never enters a hashed file.

    Attributes:
        generation_bytes_per_second: Median over texts and repeats of bytes written per second, time of the prompt left out.
        prefill_bytes_per_second: Median of bytes of prompt read per second.
        generation_tokens_per_second: The same in tokens.
        prompts, output_bytes, repeats: What was measured: texts, bytes written in all of them together, and how often.
        device, threads: Where.
    """

    generation_bytes_per_second: float
    prefill_bytes_per_second: float
    generation_tokens_per_second: float
    prompts: int
    output_bytes: int
    repeats: int
    device: str
    threads: int

    def canonical(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def measure(model: Any, tokenizer: Any, texts: Sequence[str], *, prefix: int, max_tokens: int) -> Speed:
    """Read the beginning of each text, then write what follows, token by token as in generation.

    What is written is the text itself, not what the model would say: a model that has just got a new vocabulary may repeat a token of
    one byte, or stop, and its speed would then be that of its mistakes.

    Args:
        model: Causal language model in eval mode.
        tokenizer: Its tokenizer.
        texts: Each longer than `PROMPT_BYTES` + `OUTPUT_BYTES`; the prefix token is put in front.
        prefix: The prefix token.
        max_tokens: The model's context.
    """
    import torch

    device = model.device.type
    budget, repeats = OUTPUT_BYTES.get(device, OUTPUT_BYTES["cuda"]), REPEATS.get(device, REPEATS["cuda"])
    sync: Callable[[], None] = torch.cuda.synchronize if device == "cuda" else lambda: None
    passages = [_passage(tokenizer, text, budget, prefix, max_tokens) for text in texts]
    for _ in range(WARM_UP.get(device, 1)):
        _run(model, passages[0], sync)
    reading, writing, tokens = [], [], []
    for passage in passages * repeats:
        prefill, seconds = _run(model, passage, sync)
        reading.append(passage.prompt_bytes / prefill)
        writing.append(passage.output_bytes / seconds)
        tokens.append(len(passage.output) / seconds)
    return Speed(
        round(statistics.median(writing), 2), round(statistics.median(reading), 2), round(statistics.median(tokens), 2),
        len(texts), sum(passage.output_bytes for passage in passages), repeats, device, torch.get_num_threads(),
    )  # fmt: skip


@dataclass(frozen=True)
class _Passage:
    prompt: list[int]
    output: list[int]
    prompt_bytes: int
    output_bytes: int


def _passage(tokenizer: Any, text: str, budget: int, prefix: int, max_tokens: int) -> _Passage:
    prompt = next(cut_text(text, min(PROMPT_BYTES, max_tokens // 2)))
    ids = [prefix, *tokenizer.encode(prompt, add_special_tokens=False, verbose=False)]
    room = min(budget, max_tokens - len(ids))  # a token is at least one byte
    output = text.strip()[len(prompt) :].encode()[:room].decode(errors="ignore")
    return _Passage(ids, tokenizer.encode(output, add_special_tokens=False, verbose=False), len(prompt.encode()), len(output.encode()))


def _run(model: Any, passage: _Passage, sync: Callable[[], None]) -> tuple[float, float]:
    """Seconds of prefill, seconds of decoding."""
    import torch

    with torch.no_grad():
        sync()
        start = time.perf_counter()
        out = model(input_ids=torch.tensor([passage.prompt], device=model.device), use_cache=True)
        out.logits[:, -1:].argmax(-1)
        sync()
        middle = time.perf_counter()
        for token in passage.output:
            out = model(input_ids=torch.tensor([[token]], device=model.device), past_key_values=out.past_key_values, use_cache=True)
            int(out.logits[:, -1:].argmax(-1))  # generation looks at each token before it goes on
        end = time.perf_counter()
    return middle - start, max(end - middle, 1e-9)
