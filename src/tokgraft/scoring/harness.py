"""lm-evaluation-harness, run in memory: its tasks, metrics and numbers, with a faster way to the same log-likelihoods.

`ScoredLM` changes four things of the harness's own model class, none of which changes a number beyond float rounding:

- texts are encoded without special tokens, and the prefix token (BOS, else EOS) is put in front exactly once: before whole documents
  always, before the context of a choice only when the tokenizer itself would add it;
- batches are filled by tokens, longest first;
- the head is applied only to positions whose log-probability is asked for, in slices, so that no |V| x length matrix is held;
- choices that share a context run the context once and continue from its key/value cache.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from lm_eval import utils
from lm_eval.models.huggingface import HFLM
from torch import Tensor

from tokgraft.errors import ModelError, TokenizerError
from tokgraft.logs import Heartbeat
from tokgraft.models.head import plain_head

LOGIT_BYTES = 64_000_000  # logits held at once
MIN_SHARED = 8  # tokens of context from which running it once pays

# (what was asked, context ids, continuation ids), as the harness hands them on
Request = tuple[Any, list[int], list[int]]
Answer = tuple[float, bool]


class ScoredLM(HFLM):  # type: ignore[misc]
    """The harness's view of a model that is already in memory.

    Args:
        model: Causal language model, on its device.
        tokenizer: Its tokenizer.
        batch_tokens: Tokens of one forward pass, padding included (never less than one row).
        max_length: Longest input in tokens (default: the model's context).
        share_contexts: Run a context that several choices share only once.

    Attributes:
        merged_boundaries: Choices whose first token also holds the end of the context; it is then scored with the choice.
        windowed: Documents that did not fit the context and were cut.
    """

    def __init__(
        self, model: Any, tokenizer: Any, *, batch_tokens: int = 2048, max_length: int | None = None, share_contexts: bool = True
    ) -> None:  # fmt: skip
        if tokenizer.bos_token_id is None and tokenizer.eos_token_id is None:
            raise TokenizerError("the tokenizer defines neither BOS nor EOS", "set one: a document needs a token to start from")
        _quiet()
        super().__init__(pretrained=model, tokenizer=tokenizer, batch_size=1, max_length=max_length, add_bos_token=False)
        self.batch_tokens = batch_tokens
        self.head = plain_head(model)
        self.adds_prefix = _adds_prefix(tokenizer, self.prefix_token_id)
        self.merged_boundaries = 0
        self.windowed = 0
        self.share_contexts = share_contexts and self._cache_works()

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, left_truncate_len: int | None = None, **kwargs: Any
    ) -> list[int]:  # fmt: skip
        """Ids of a text without special tokens; with the prefix in front when `add_special_tokens` and the tokenizer is of that kind."""
        ids = list(self.tokenizer.encode(string, add_special_tokens=False, verbose=False))
        if add_special_tokens and self.adds_prefix:
            ids.insert(0, self.prefix_token_id)
        return ids[-left_truncate_len:] if left_truncate_len else ids

    def _encode_pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        """Ids of context and continuation.

        As the harness does, trailing white space of the context moves to the continuation. Where a tokenizer merges across the boundary,
        the merged token belongs to the continuation, so that the ids are always those of the whole text.
        """
        stripped = context.rstrip()
        if not stripped:
            return [self.prefix_token_id], self.tok_encode(context + continuation)
        whole = self.tok_encode(context + continuation, add_special_tokens=True)
        alone = self.tok_encode(stripped, add_special_tokens=True)
        shared = next((at for at, pair in enumerate(zip(whole, alone, strict=False)) if pair[0] != pair[1]), min(len(whole), len(alone)))
        self.merged_boundaries += shared < len(alone)
        if shared == 0:
            return [self.prefix_token_id], whole
        return whole[:shared], whole[shared:]

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[Answer]:
        """(log-likelihood in nats, whether greedy decoding would give it) of each (context, continuation)."""
        encoded: list[Request] = [(request.args, *self._encode_pair(*request.args)) for request in requests]
        return self._loglikelihood_tokens(encoded, disable_tqdm)

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
        """Log-likelihood in nats of each whole document."""
        work: list[Request] = []
        owners: list[int] = []
        for number, request in enumerate(requests):
            windows = utils.get_rolling_token_windows(
                token_list=self.tok_encode(request.args[0]), prefix_token=self.prefix_token_id, max_seq_len=self.max_length, context_len=1
            )
            cut = [utils.make_disjoint_window(window) for window in windows]
            self.windowed += len(cut) > 1
            work += [(None, given, predicted) for given, predicted in cut]
            owners += [number] * len(cut)
        totals = [0.0] * len(requests)
        for owner, (value, _) in zip(owners, self._loglikelihood_tokens(work, disable_tqdm), strict=True):
            totals[owner] += value
        return totals

    @torch.no_grad()
    def _loglikelihood_tokens(self, requests: list[Request], disable_tqdm: bool = False, override_bs: int | None = None) -> list[Answer]:
        groups: dict[tuple[int, ...], list[int]] = {}
        for number, (_, context, _) in enumerate(requests):
            groups.setdefault(tuple(context), []).append(number)
        shared = [numbers for numbers in groups.values() if self._worth_sharing([requests[number] for number in numbers])]
        taken = {number for numbers in shared for number in numbers}
        plain = sorted(set(range(len(requests))) - taken, key=lambda number: (-_length(requests[number]), number))
        answers: list[Answer] = [(0.0, False)] * len(requests)
        batches = [(numbers, self._run_shared, len(requests[numbers[0]][1])) for numbers in shared]
        batches += [(numbers, self._run_plain, 0) for numbers in self._batches(plain, requests)]
        sizes = [sum(_length(requests[number]) for number in numbers) - (len(numbers) - 1) * context for numbers, _, context in batches]
        beat = Heartbeat("scoring", sum(sizes), "tokens")
        done = 0
        for size, (numbers, run, _) in zip(sizes, batches, strict=True):
            rows = [requests[number] for number in numbers]
            for number, answer in zip(numbers, run(rows), strict=True):
                answers[number] = answer
            done += size
            beat.beat(done)
        return answers

    def _worth_sharing(self, rows: Sequence[Request]) -> bool:
        context = len(rows[0][1])
        longest = max(len(continuation) for _, _, continuation in rows)
        return self.share_contexts and len(rows) > 1 and context >= MIN_SHARED and context + longest <= self.max_length

    def _batches(self, numbers: Sequence[int], requests: Sequence[Request]) -> Iterator[list[int]]:
        start = 0
        while start < len(numbers):
            rows = max(self.batch_tokens // max(_length(requests[numbers[start]]), 1), 1)
            yield list(numbers[start : start + rows])
            start += rows

    def _run_plain(self, rows: Sequence[Request]) -> list[Answer]:
        """Each row from its first token on; padding stands to the right of a causal model's text, so it needs no mask."""
        inputs = [(context + continuation)[-(self.max_length + 1) :][:-1] for _, context, continuation in rows]
        targets = [continuation[-len(ids) :] for ids, (_, _, continuation) in zip(inputs, rows, strict=True)]
        ids, labels = self._pad(inputs, targets)
        if self.head is not None:
            states = self.head.hidden(ids)
            return self._answers(states, labels)
        return self._answers(self.model(input_ids=ids, use_cache=False).logits, labels)

    def _run_shared(self, rows: Sequence[Request]) -> list[Answer]:
        """The context once, then every continuation from its cache."""
        context = torch.tensor([rows[0][1]], device=self.device)
        body = self.model if self.head is None else self.head.body
        first = body(input_ids=context, use_cache=True)
        cache = first.past_key_values
        cache.batch_repeat_interleave(len(rows))
        continuations = [continuation for _, _, continuation in rows]
        ids, labels = self._pad([[0, *continuation[:-1]] for continuation in continuations], continuations)
        last = (first.logits if self.head is None else first.last_hidden_state)[:, -1:].expand(len(rows), -1, -1)
        if ids.shape[1] == 1:
            return self._answers(last, labels)
        # The context's last state predicts the first token; the continuations' own states predict the rest.
        second = body(input_ids=ids[:, 1:], past_key_values=cache, use_cache=True)
        rest = second.logits if self.head is None else second.last_hidden_state
        return self._answers(torch.cat([last, rest], dim=1), labels)

    def _pad(self, inputs: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Ids and labels, rows x longest; labels stand under the last positions of each input and are -100 elsewhere."""
        width = max(map(len, inputs))
        ids = torch.zeros(len(inputs), width, dtype=torch.long)
        labels = torch.full((len(inputs), width), -100, dtype=torch.long)
        for row, (given, predicted) in enumerate(zip(inputs, targets, strict=True)):
            ids[row, : len(given)] = torch.tensor(given)
            labels[row, len(given) - len(predicted) : len(given)] = torch.tensor(predicted)
        return ids.to(self.device), labels.to(self.device)

    def _answers(self, outputs: Tensor, labels: Tensor) -> list[Answer]:
        """Sum of log-probabilities of the labels, in float64, and whether each was the most probable token."""
        counted = labels != -100
        picked, targets = outputs[counted], labels[counted]
        size = outputs.shape[-1] if self.head is None else self.head.weight.shape[0]
        chunk = max(LOGIT_BYTES // (4 * size), 1)
        values, greedy = [], []
        for start in range(0, len(targets), chunk):
            piece = picked[start : start + chunk]
            logits = (piece if self.head is None else torch.nn.functional.linear(piece, self.head.weight, self.head.bias)).float()
            wanted = targets[start : start + chunk]
            values.append(-torch.nn.functional.cross_entropy(logits, wanted, reduction="none"))
            greedy.append(logits.gather(1, wanted[:, None])[:, 0] >= logits.amax(1))
        rows = counted.nonzero()[:, 0].cpu()
        sums = torch.zeros(len(labels), dtype=torch.float64).index_add_(0, rows, torch.cat(values).double().cpu())
        misses = torch.zeros(len(labels), dtype=torch.long).index_add_(0, rows, (~torch.cat(greedy)).long().cpu())
        if not bool(torch.isfinite(sums).all()):
            raise ModelError("the model gives NaN or infinite log-probabilities", "check its weights and how it was trained")
        return [(float(value), not missed) for value, missed in zip(sums.tolist(), misses.tolist(), strict=True)]

    def _cache_works(self) -> bool:
        """Whether this architecture gives the same numbers from a repeated cache; found out by trying."""
        size = self.model.get_input_embeddings().weight.shape[0]
        context = [number % size for number in range(1, 1 + MIN_SHARED)]
        rows: list[Request] = [(None, context, [3 % size, 5 % size, 2 % size]), (None, context, [4 % size])]
        try:
            with torch.no_grad():
                ours, plain = self._run_shared(rows), self._run_plain(rows)
        except Exception:  # a cache of another kind, or none
            return False
        return all(abs(one[0] - two[0]) < 1e-2 + 1e-4 * abs(two[0]) for one, two in zip(ours, plain, strict=True))


def _length(request: Request) -> int:
    return len(request[1]) + len(request[2]) - 1


def _adds_prefix(tokenizer: Any, prefix: int) -> bool:
    """Whether the tokenizer itself puts the prefix token in front of a text."""
    ids = list(tokenizer.encode("a", verbose=False))
    return bool(ids) and ids[0] == prefix and list(tokenizer.encode("a", add_special_tokens=False, verbose=False))[:1] != [prefix]


def _quiet() -> None:
    """Keep the harness's advice and progress bars out of a stage's log; its errors stay."""
    import datasets

    datasets.disable_progress_bars()
    for name in ("lm_eval", "lm-eval", "datasets"):
        logging.getLogger(name).setLevel(logging.ERROR)


@functools.cache
def _manager(defaults: bool) -> Any:
    from lm_eval.tasks import TaskManager

    return TaskManager(include_defaults=defaults)


def run_tasks(lm: ScoredLM, tasks: Sequence[str]) -> dict[str, Any]:
    """Run harness tasks; its results, with samples and without bootstrap (tokgraft.scoring.statistics does that).

    Args:
        lm: The model.
        tasks: YAML files, or names of the harness's own tasks: its index of thousands is built only for these, which takes a while.
    """
    import lm_eval

    _quiet()
    results: dict[str, Any]
    if all(Path(task).is_file() for task in tasks):
        # What simple_evaluate calls; it would only add a survey of this machine, which takes longer than scoring a small model.
        results = lm_eval.evaluate(lm=lm, task_dict=_manager(False).load(list(tasks)), log_samples=True, bootstrap_iters=0)
    else:
        results = lm_eval.simple_evaluate(model=lm, tasks=list(tasks), task_manager=_manager(True), log_samples=True, bootstrap_iters=0)
    return results
