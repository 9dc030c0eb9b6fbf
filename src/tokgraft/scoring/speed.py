"""How fast a model reads and writes, in bytes of text: tokens per second would reward a tokenizer for using more of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

PROMPTS, PROMPT_BYTES = 3, 200
OUTPUT_BYTES = {"cpu": 32, "cuda": 512}
REPEATS = {"cpu": 1, "cuda": 5}
WARM_UP = {"cpu": 1, "cuda": 3}


@dataclass(frozen=True)
class Speed:
    """Throughput at batch size 1; depends on the machine, so it never enters a hashed file.

    Attributes:
        generation_bytes_per_second: Median over prompts and repeats of bytes written per second, greedily, prompt time left out.
        prefill_bytes_per_second: Median of bytes of prompt read per second.
        generation_tokens_per_second: The same text in tokens.
        prompts, output_bytes, repeats: What was measured.
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


def measure(model: Any, tokenizer: Any, prompts: Sequence[str], *, prefix: int, max_tokens: int) -> Speed:
    """Greedy generation from fixed prompts until a number of bytes, not of tokens, is written; EOS does not stop it.

    Args:
        model: Causal language model in eval mode.
        tokenizer: Its tokenizer.
        prompts: Texts; the prefix token is put in front of each.
        prefix: The prefix token.
        max_tokens: The model's context.
    """
    import torch

    device = model.device.type
    budget, repeats = OUTPUT_BYTES.get(device, OUTPUT_BYTES["cuda"]), REPEATS.get(device, REPEATS["cuda"])
    sync: Callable[[], None] = torch.cuda.synchronize if device == "cuda" else lambda: None
    encoded = [[prefix, *tokenizer.encode(text, add_special_tokens=False, verbose=False)] for text in prompts]
    reading, writing, tokens = [], [], []
    for _ in range(WARM_UP.get(device, 1)):
        _generate(model, tokenizer, encoded[0], budget // 4, max_tokens, sync)
    for _ in range(repeats):
        for text, ids in zip(prompts, encoded, strict=True):
            prefill, seconds, steps, written = _generate(model, tokenizer, ids, budget, max_tokens, sync)
            reading.append(len(text.encode()) / prefill)
            if steps:
                writing.append(written / seconds)
                tokens.append(steps / seconds)
    return Speed(
        round(statistics.median(writing or [0.0]), 2), round(statistics.median(reading), 2), round(statistics.median(tokens or [0.0]), 2),
        len(prompts), budget, repeats, device, torch.get_num_threads(),
    )  # fmt: skip


def _generate(
    model: Any, tokenizer: Any, ids: list[int], budget: int, max_tokens: int, sync: Callable[[], None]
) -> tuple[float, float, int, int]:  # fmt: skip
    """(seconds of prefill, seconds of decoding, tokens decoded, bytes decoded)."""
    import torch

    with torch.no_grad():
        sync()
        start = time.perf_counter()
        out = model(input_ids=torch.tensor([ids], device=model.device), use_cache=True)
        token = out.logits[:, -1:].argmax(-1)
        sync()
        middle = time.perf_counter()
        produced: list[int] = []
        written = 0
        # A token that is a part of a character adds nothing to the text until the character is whole, so the number of steps has a limit.
        while written < budget and len(produced) < 2 * budget and len(ids) + len(produced) + 1 < max_tokens:
            out = model(input_ids=token, past_key_values=out.past_key_values, use_cache=True)
            token = out.logits[:, -1:].argmax(-1)
            produced.append(int(token))
            written = len(tokenizer.decode(produced, skip_special_tokens=True).encode())
        sync()
        end = time.perf_counter()
    return middle - start, max(end - middle, 1e-9), len(produced), written
