"""Hidden states: the base model reads a token's pieces, and linear maps turn its states at the last piece into rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any, Literal

import numpy as np
from pydantic import Field

from tokgraft.errors import ModelError, UnavailableError, UnsupportedError
from tokgraft.methods import Composition, Dense, Floats, Mixtures, Params, Provenance, Transplant, given, method
from tokgraft.numerics.ridge import TESTED, Affine, fit

Ids = tuple[int, ...]
FEWEST = 20  # single-piece words that a fit needs
NUMBERS = 32_000_000  # of the states of one forward pass: 128 MB in float32


class HiddenState(Params):
    """Map the state at the last piece to an input row (inner layer) and an output row (last layer); the overlap is copied."""

    depth: float = Field(1 / 3, gt=0, le=1, description="Layer of the input rows' states, as a share of all layers.")
    context: str = Field("\n", description="Text that stands before the pieces, after the begin token.")
    examples: Literal["words", "split", "both"] = Field(
        "words", description="words: fit on words that are one piece (published); split: on the same words, written with smaller pieces."
    )
    words: int = Field(4000, ge=FEWEST, description="Words to fit on, at most: evenly over the ids, frequent and rare ones alike.")
    tied: Literal["mean", "input", "output"] = Field("mean", description="Row of a tied model: mean of both maps, or one of them.")


@method("hidden_state", HiddenState, version=2, paper="arXiv:2410.05864", copies_overlap=True, forward=True)
def build(task: Transplant, params: HiddenState) -> Composition:
    """Copy the overlap; T_E(h_l) and T_U(h_L) at the last piece for the rest; mean over all rows for tokens without pieces.

    Raises:
        DataError: The base has too few words that are one piece.
        ModelError: The model's states cannot be used.
    """
    reader = StateReader(task, params)
    inner, outer, stats = _maps(task, params, reader)
    pieces = {number: ids for number, ids in task.new_pieces.items() if ids}
    numbers: dict[Ids, list[int]] = {}
    for place, ids in enumerate(pieces.values()):
        numbers.setdefault(ids, []).append(place)
    new = {name: np.empty((len(pieces), table.shape[1]), dtype=np.float32) for name, table in task.tables.items()}
    for batch, early, late in reader.states(list(numbers)):
        rows = {"input": inner(early), "output": outer(late)}
        if task.tied:
            rows["input"] = (rows["input"] + rows["output"]) / 2 if params.tied == "mean" else rows[params.tied]
        for place, ids in enumerate(batch):
            for name in new:
                new[name][numbers[ids]] = rows[name][place]
    dense = Dense(np.array(list(pieces), dtype=np.int64), new, [Provenance("mapped", ids) for ids in pieces.values()])
    return Composition(task.overlap, dense=dense, bias=Mixtures.means(pieces), stats=stats)


class StateReader:
    """Reads pieces with the base model and gives its states at the last one.

    Args:
        task: The transplant.
        params: Layer and context.
    """

    def __init__(self, task: Transplant, params: HiddenState) -> None:
        import torch

        segmenter, model = given(task.segmenter, "segmenter"), given(task.load_model, "load_model")()
        masked = type(model).__name__.endswith("ForMaskedLM")
        roles = task.source.roles
        begin = next((roles[role] for role in ("bos", "cls", "eos") if role in roles), None)
        self.before: Ids = (*(() if begin is None else (begin,)), *segmenter.pieces(params.context.encode()))
        self.after: Ids = (roles["sep"],) if masked and "sep" in roles else ()
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.body: Any = model.base_model.to(self.device).eval()
        self.layers: int = self.body.config.num_hidden_layers
        self.layer = max(1, round(params.depth * self.layers))
        self.prefix: Any = None if masked or not self.before else self._prefix()

    def _prefix(self) -> Any:
        """Keys and values of what stands before all pieces, read once; None where the model cannot go on from them."""
        import torch
        from transformers import DynamicCache

        with torch.inference_mode():
            found = self.body(input_ids=torch.tensor([self.before], device=self.device), use_cache=True)
        cache = getattr(found, "past_key_values", None)
        return cache if type(cache) is DynamicCache else None

    def _read(self, batch: Sequence[Ids]) -> Any:
        """States of all layers for sequences of equal length, those of the prefix left out where it was read before."""
        import torch

        if self.prefix is None:
            whole = [(*self.before, *ids, *self.after) for ids in batch]
            return self.body(input_ids=torch.tensor(whole, device=self.device), output_hidden_states=True, use_cache=False).hidden_states
        cache = deepcopy(self.prefix)
        cache.batch_repeat_interleave(len(batch))
        given = torch.tensor([(*ids, *self.after) for ids in batch], device=self.device)
        return self.body(input_ids=given, past_key_values=cache, output_hidden_states=True, use_cache=True).hidden_states

    def states(self, sequences: Sequence[Ids]) -> Iterator[tuple[list[Ids], Floats, Floats]]:
        """Batches of sequences, states of the inner layer and of the last one (after the final norm), each (n, hidden), float32.

        Only sequences of equal length share a forward pass: no padding, and what is in a batch does not depend on ids of the target.

        Raises:
            UnsupportedError: A layer of the model holds more than one state of a token (Gemma 3n).
            ModelError: A state is not finite.
        """
        import torch

        groups: dict[int, list[Ids]] = {}
        for ids in sorted(sequences):
            groups.setdefault(len(ids), []).append(ids)
        for length in sorted(groups):
            whole = length + len(self.before) + len(self.after)
            step = max(1, NUMBERS // (whole * self.body.config.hidden_size * (self.layers + 1)))
            for begin in range(0, len(groups[length]), step):
                batch = groups[length][begin : begin + step]
                with torch.inference_mode():
                    found, place = self._read(batch), -1 - len(self.after)
                    if found[self.layer].ndim != 3:
                        raise UnsupportedError(
                            f"the layers of {type(self.body).__name__} hold several states of each token", "choose another method"
                        )
                    early, late = (found[layer][:, place].float().cpu().numpy() for layer in (self.layer, -1))
                if not (np.isfinite(early).all() and np.isfinite(late).all()):
                    raise ModelError("the base model gives hidden states that are not finite", "check its weights")
                yield batch, early, late

    def stacked(self, sequences: Sequence[Ids]) -> tuple[Floats, Floats]:
        """States of all sequences in the order given, inner and last, each (n, hidden)."""
        place: dict[Ids, list[int]] = {}
        for number, ids in enumerate(sequences):
            place.setdefault(ids, []).append(number)
        found = [np.empty((len(sequences), self.body.config.hidden_size), dtype=np.float32) for _ in range(2)]
        for batch, *states in self.states(list(place)):
            for row, ids in enumerate(batch):
                for part in range(2):
                    found[part][place[ids]] = states[part][row]
        return found[0], found[1]


def _maps(task: Transplant, params: HiddenState, reader: StateReader) -> tuple[Affine, Affine, dict[str, Any]]:
    """The maps to input and output rows, and how well they do on words that they did not see, as one piece and split."""
    index = {task.source[number].text: number for number in reversed(task.source.text_ids)}
    parts = {number: split(task.source[number].text, index) for number in example_words(task)}
    words = spread([number for number, ids in parts.items() if ids], params.words)
    if len(words) < FEWEST:
        raise UnavailableError(
            f"hidden_state fits on words that are one piece; the base has {len(words)}, needed are {FEWEST}",
            "choose a base with a larger vocabulary, or a method without a fit",
        )
    written: dict[str, list[Ids]] = {"words": [(number,) for number in words], "split": [parts[number] for number in words]}
    used = [kind for kind in written if params.examples in (kind, "both")]
    others = [kind for kind in written if kind not in used]  # at most one; only the words that the maps are tested on are read
    read = {kind: reader.stacked(written[kind][TESTED] if kind in others else written[kind]) for kind in written}
    stats: dict[str, Any] = {"layer": reader.layer, "examples": len(words)}
    maps = []
    for place, (name, table) in enumerate((("input", task.E), ("output", task.U))):
        affine, cosines = fit([read[kind][place] for kind in used], table[words], *(read[kind][place] for kind in others))
        maps.append(affine)
        stats |= {
            f"penalty_{name}": affine.penalty,
            f"heldout_cosine_{name}": {kind: round(cosine, 4) for kind, cosine in zip([*used, *others], cosines)},
        }
    return maps[0], maps[1], stats


def spread(numbers: Sequence[int], count: int) -> list[int]:
    """At most `count` of the numbers, evenly over their order, the first and the last among them."""
    if len(numbers) <= count:
        return list(numbers)
    return [numbers[place] for place in np.linspace(0, len(numbers) - 1, count).round().astype(int).tolist()]


def example_words(task: Transplant) -> list[int]:
    """Source ids of words: three letters or more, with or without a space before, ascending."""
    found = []
    for number in task.source.text_ids:
        try:
            text = task.source[number].text.decode()
        except UnicodeDecodeError:
            continue
        word = text.removeprefix(" ")
        if len(word) >= 3 and word.isalpha():
            found.append(number)
    return found


def split(text: bytes, index: dict[bytes, int]) -> Ids:
    """Ids of the longest token that begins `text` but is not all of it, then of the longest that goes on, and so on; empty if there is none."""
    ids: list[int] = []
    begin = 0
    while begin < len(text):
        end = next((end for end in range(len(text), begin, -1) if end - begin < len(text) and text[begin:end] in index), begin)
        if end == begin:
            return ()
        ids.append(index[text[begin:end]])
        begin = end
    return tuple(ids)
