"""lm-evaluation-harness, run in memory: its tasks, metrics and numbers, with a faster way to the same log-likelihoods.

`ScoredLM` changes four things of the harness's own model class, none of which changes a number beyond float rounding:

- texts are encoded without special tokens, and the prefix token (BOS, else EOS) is put in front exactly once: before whole documents
  always, before the context of a choice only when the tokenizer itself would add it;
- batches are filled by tokens, longest first;
- the head is applied only to positions whose log-probability is asked for, in slices, so that no |V| x length matrix is held;
- choices that share a context are one row: the context once, then the choices side by side, none of which sees another.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from lm_eval import utils
from lm_eval.models.huggingface import HFLM
from torch import Tensor

from tokgraft.config import harness_files
from tokgraft.errors import ModelError, TokenizerError
from tokgraft.logs import Heartbeat
from tokgraft.models.head import plain_head

LOGIT_BYTES = 64_000_000  # logits held at once
MIN_SHARED = 8  # tokens of context from which running it once pays
NOTHING = -100  # label of a position that is not scored

# (what was asked, context ids, continuation ids), as the harness hands them on
Request = tuple[Any, list[int], list[int]]
Answer = tuple[float, bool]


@dataclass(frozen=True)
class PackedRequests:
    """One or several requests with a common context, as a sequence for the model.

    Attributes:
        members: Numbers of the requests.
        ids: Token ids: the context but its last token, then one branch per request, each led by that last token.
        labels: What each position must predict; `NOTHING` where it is not scored.
        owners: Request that each position is scored for.
        positions: Place of each token in its own text.
        branches: 0 for the context, 1, 2, ... for the requests.
    """

    members: tuple[int, ...]
    ids: list[int]
    labels: list[int]
    owners: list[int]
    positions: list[int]
    branches: list[int]


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
        self.share_contexts = share_contexts and self._packing_works()

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
        rows = sorted(self._rows(requests), key=lambda row: (-len(row.ids), row.members))
        sums = torch.zeros(len(requests), dtype=torch.float64)
        misses = torch.zeros(len(requests), dtype=torch.long)
        beat = Heartbeat("scoring", sum(len(row.ids) for row in rows), "tokens")
        done = 0
        for batch in self._batches(rows):
            self._run(batch, sums, misses)
            done += sum(len(row.ids) for row in batch)
            beat.beat(done)
        if not bool(torch.isfinite(sums).all()):
            raise ModelError("the model gives NaN or infinite log-probabilities", "check its weights and how it was trained")
        return [(float(value), not missed) for value, missed in zip(sums.tolist(), misses.tolist(), strict=True)]

    def _rows(self, requests: Sequence[Request]) -> Iterator[PackedRequests]:
        groups: dict[tuple[int, ...], list[int]] = {}
        for number, (_, context, _) in enumerate(requests):
            groups.setdefault(tuple(context), []).append(number)
        for given, numbers in groups.items():
            longest = len(given) + max(len(requests[number][2]) for number in numbers)
            if self.share_contexts and len(numbers) > 1 and len(given) >= MIN_SHARED and longest <= min(self.max_length, self._window()):
                yield _pack(requests, numbers)
            else:
                yield from (self._single(requests, number) for number in numbers)

    def _single(self, requests: Sequence[Request], number: int) -> PackedRequests:
        """A request alone; cut from the left when it is longer than the context, as the harness does."""
        _, context, continuation = requests[number]
        ids = (context + continuation)[-(self.max_length + 1) :][:-1]
        labels = ([NOTHING] * len(ids) + continuation)[-len(ids) :]
        return PackedRequests((number,), ids, labels, [number] * len(ids), list(range(len(ids))), [0] * len(ids))

    def _batches(self, rows: Sequence[PackedRequests]) -> Iterator[Sequence[PackedRequests]]:
        start = 0
        while start < len(rows):
            size = max(self.batch_tokens // max(len(rows[start].ids), 1), 1)
            yield rows[start : start + size]
            start += size

    def _run(self, batch: Sequence[PackedRequests], sums: Tensor, misses: Tensor) -> None:
        """One forward pass; adds each scored position to its request's sum (float64) and to its count of not-greedy tokens."""
        ids, labels, owners = (
            self._tensor([getattr(row, name) for row in batch], pad) for name, pad in (("ids", 0), ("labels", NOTHING), ("owners", 0))
        )
        more: dict[str, Tensor] = {}
        if any(len(row.members) > 1 for row in batch):
            more["position_ids"] = self._tensor([row.positions for row in batch], 0)
            more["attention_mask"] = _branch_mask(self._tensor([row.branches for row in batch], -1))
        # Otherwise padding stands to the right of a causal model's text, and needs no mask.
        body = self.model if self.head is None else self.head.body
        out = body(input_ids=ids, use_cache=False, **more)
        outputs = out.logits if self.head is None else out.last_hidden_state
        counted = labels != NOTHING
        values, greedy = self._logprobs(outputs[counted], labels[counted])
        places = owners[counted].cpu()
        sums.index_add_(0, places, values.double().cpu())
        misses.index_add_(0, places, (~greedy).long().cpu())

    def _tensor(self, rows: Sequence[Sequence[int]], pad: int) -> Tensor:
        width = max(map(len, rows))
        return torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows], dtype=torch.long, device=self.device)

    def _logprobs(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """(log-probability of each target, whether it is the most probable token), the head applied in slices."""
        size = outputs.shape[-1] if self.head is None else self.head.weight.shape[0]
        chunk = max(LOGIT_BYTES // (4 * size), 1)
        values, greedy = [], []
        for start in range(0, len(targets), chunk):
            piece, wanted = outputs[start : start + chunk], targets[start : start + chunk]
            logits = (piece if self.head is None else torch.nn.functional.linear(piece, self.head.weight, self.head.bias)).float()
            values.append(-torch.nn.functional.cross_entropy(logits, wanted, reduction="none"))
            greedy.append(logits.gather(1, wanted[:, None])[:, 0] >= logits.amax(1))
        return torch.cat(values), torch.cat(greedy)

    def _window(self) -> int:
        """Tokens that every layer sees back: a row of several choices replaces the mask of a sliding window."""
        return int(getattr(self.config, "sliding_window", None) or self.max_length)

    def _packing_works(self) -> bool:
        """Whether this architecture honours the mask and the positions of a packed row; found out by trying."""
        size = self.model.get_input_embeddings().weight.shape[0]
        context = [number % size for number in range(1, 1 + MIN_SHARED)]
        requests: list[Request] = [(None, context, [3 % size, 5 % size, 2 % size]), (None, context, [4 % size, 1 % size])]
        results = []
        for row_set in ([_pack(requests, [0, 1])], [self._single(requests, 0), self._single(requests, 1)]):
            sums, misses = torch.zeros(2, dtype=torch.float64), torch.zeros(2, dtype=torch.long)
            try:
                with torch.no_grad():
                    self._run(row_set, sums, misses)
            except Exception:  # the architecture takes no such mask, or no positions
                return False
            results.append(sums)
        return bool(torch.allclose(results[0], results[1], rtol=1e-4, atol=1e-2))


def _pack(requests: Sequence[Request], numbers: Sequence[int]) -> PackedRequests:
    context = requests[numbers[0]][1]
    shared = len(context) - 1
    row = PackedRequests(tuple(numbers), context[:-1], [NOTHING] * shared, [0] * shared, list(range(shared)), [0] * shared)
    for branch, number in enumerate(numbers, start=1):
        continuation = requests[number][2]
        size = len(continuation)
        row.ids.extend([context[-1], *continuation[:-1]])
        row.labels.extend(continuation)
        row.owners.extend([number] * size)
        row.positions.extend(range(shared, shared + size))
        row.branches.extend([branch] * size)
    return row


def _branch_mask(branches: Tensor) -> Tensor:
    """Who sees whom, B x 1 x L x L, true where it may: what came before in the same branch or in the context."""
    length = branches.shape[1]
    before = torch.ones(length, length, dtype=torch.bool, device=branches.device).tril()
    same = branches[:, :, None] == branches[:, None, :]
    return (before & (same | (branches == 0)[:, None, :]))[:, None]


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
    if all(task.endswith(harness_files.SUFFIX) for task in tasks):
        # What simple_evaluate calls; it would only add a survey of this machine, which takes longer than scoring a small model.
        results = lm_eval.evaluate(lm=lm, task_dict=_manager(False).load(list(tasks)), log_samples=True, bootstrap_iters=0)
    else:
        results = lm_eval.simple_evaluate(model=lm, tasks=list(tasks), task_manager=_manager(True), log_samples=True, bootstrap_iters=0)
    return results
