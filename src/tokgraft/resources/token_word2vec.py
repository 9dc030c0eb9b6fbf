"""How much of each source row a new token takes: convex weights that word2vec learns on text cut into target tokens."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from tokgraft.errors import ArtifactError, DataError, ModelError, UnavailableError
from tokgraft.numerics.hull import Factors, points
from tokgraft.overlap import overlap
from tokgraft.resources import _groups, _streams
from tokgraft.resources._contract import Inputs, ResourceParams, resource
from tokgraft.resources._pairing import SOURCE, read_source, source_facts
from tokgraft.resources._word2vec import Training, WordTable, train
from tokgraft.vocab import Vocabulary

SPREAD = 0.1  # standard deviation of the first logits, as rank^(1/4) times that of a factor's numbers


class TokenWord2Vec(ResourceParams):
    """Weights of new tokens on source tokens, learnt by skip-gram on the base's own rows over target-language and English train pages.

    Window, negatives, epochs, batch, rate and subsampling are those of CW2V's published script. Groups and rank are ours, for the cost: a
    step over single source tokens with rank 1024 takes about half a minute on two cores for a source of 49,000 tokens.
    """

    groups: int = Field(
        1024, ge=0, description="Groups of near source tokens whose logits are one; 0: each token for itself, as published."
    )
    rank: int = Field(64, ge=1, description="Width of the factors of the logits (1024 in the published script).")
    window: int = Field(5, ge=1, description="Tokens of context on each side.")
    negatives: int = Field(5, ge=1, description="Tokens drawn against each pair, by frequency to the power 0.75.")
    batch: int = Field(4096, ge=1, description="Pairs of one step.")
    epochs: int = Field(5, ge=0, description="Passes over the pairs of the subsampled text; 0 leaves the weights as they start.")
    max_steps: int = Field(1000, ge=0, description="Steps at most, whatever the size of the text (no limit in the published script).")
    rate: float = Field(3e-4, gt=0, description="Learning rate of Adam.")
    keep: float = Field(2.0, gt=0, description="A token that occurs c times is kept with probability sqrt(keep / c).")
    seed: int = Field(0, ge=0, description="Seed of the first numbers, of pairs and of negatives.")
    max_bytes: int | None = Field(
        None, ge=1, description="Text of each language that is read, in bytes of UTF-8; whole pages from the start (default: all)."
    )
    compatibility: Literal["none", "reference"] = Field(
        "none",
        description="reference: factors start uniform in 0..1, negatives are distinct within a step and summed before the log-sigmoid.",
    )


def load(folder: Path, size: int) -> dict[str, Any]:
    """What `cw2v` applies: "ids", "seen", "source_ids", "groups", "input" and (untied base) "output" as `Factors`, the source's fingerprint.

    Raises:
        ArtifactError: The arrays do not fit together, or hold NaN.
    """
    found: dict[str, Any] = {name: np.load(folder / f"{name}.npy", allow_pickle=False) for name in ("ids", "seen", "source_ids", "groups")}
    sizes = np.bincount(found["groups"])
    n, m = len(found["ids"]), len(sizes)
    fits = len(found["seen"]) == n and int(found["ids"].max(initial=-1)) < size and len(found["groups"]) == len(found["source_ids"])
    for name in ("input", "output"):
        if (folder / f"{name}_left.npy").exists():
            left, right = (np.load(folder / f"{name}_{side}.npy", allow_pickle=False) for side in ("left", "right"))
            fits = fits and len(left) == n and len(right) == m and bool(np.isfinite(left).all() and np.isfinite(right).all())
            found[name] = Factors(left, right, sizes)
    if not fits or not sizes.all() or "input" not in found:
        raise ArtifactError(
            f"{folder}: weights of {n} tokens on {m} groups do not fit together or to {size} ids, or hold NaN", "make the resource again"
        )
    return found | {SOURCE: read_source(folder)}


@resource(
    "token_word2vec",
    TokenWord2Vec,
    load=load,
    version=1,
    needs={"corpus", "english", "tokenizer", "base"},
    libraries=["numpy", "scipy", "tokenizers", "torch"],
)
def build(inputs: Inputs, params: TokenWord2Vec, folder: Path) -> Mapping[str, Any]:
    """Write `ids.npy` (n new target ids), `seen.npy` (n), `source_ids.npy` and the `groups.npy` of each, and for each table of the base
    `input_left.npy` (n x rank), `input_right.npy` (groups x rank), `output_...`.

    Raises:
        DataError: There is nothing to learn from.
        ModelError: The base's tables differ in width.
        TokenizerError: A tokenizer cannot be read.
    """  # fmt: skip
    from threadpoolctl import threadpool_limits

    from tokgraft.models.io import embedding_tables, load_model, load_tokenizer

    base, corpora = Path(str(inputs.base)), [Path(str(inputs.corpus)), Path(str(inputs.english))]
    source_tokenizer, tokenizer = load_tokenizer(base), load_tokenizer(Path(str(inputs.tokenizer)))
    source, target = Vocabulary.from_tokenizer(source_tokenizer), Vocabulary.from_tokenizer(tokenizer)
    E, U = embedding_tables(load_model(base))
    if U is not None and U.shape[1] != E.shape[1]:
        raise ModelError(f"{base}: rows of {E.shape[1]} and {U.shape[1]} numbers cannot be compared", "use another method than cw2v")
    given = {"input": E} if U is None else {"input": E, "output": U}
    order = _streams.text_order(target)
    matches = overlap(source, target)
    fixed = {place: matches[number].source for place, number in enumerate(order) if number in matches}
    new = np.array([place for place in range(len(order)) if place not in fixed], dtype=np.int64)
    rng = np.random.default_rng(params.seed)
    ids = np.array(source.text_ids, dtype=np.int32)
    with threadpool_limits(limits=1):  # sums over several threads may depend on their number
        groups = _groups.near(E[ids], params.groups, rng)
    sizes = np.bincount(groups)
    sides = {name: Factors(_start(len(new), params, rng), _start(len(sizes), params, rng), sizes) for name in given}
    stream = _known(_streams.read(corpora, tokenizer, params.max_bytes), target, new, fixed)
    seen = np.isin(new, stream.ids)
    tables = [_table(len(order), fixed, new, sides[name], rows, points(rows, ids, groups, len(sizes))) for name, rows in given.items()]
    losses = train(stream, (tables[0], tables[-1]), _training(params), rng) if len(new) else []
    _save(folder, sides, ids=np.array(order, dtype=np.int32)[new], source_ids=ids, groups=groups, seen=seen)
    told = {"tokens": len(stream.ids), "groups": len(sizes), "new": len(new), "seen": int(seen.sum()), "steps": len(losses)}
    first, last = (round(float(np.mean(part)), 6) if losses else None for part in (losses[:20], losses[-20:]))
    return {"vocabulary": target.fingerprint, **source_facts(source), **told, "loss_first": first, "loss_last": last}


def _start(size: int, params: TokenWord2Vec, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """First numbers of a factor: so small around 0 that all weights are nearly equal, or uniform in 0..1 as published."""
    shape = (size, params.rank)
    if params.compatibility == "reference":
        return rng.random(shape, dtype=np.float32)
    spread = np.sqrt(SPREAD) / params.rank**0.25
    small: npt.NDArray[np.float32] = (spread * rng.standard_normal(shape)).astype(np.float32)
    return small


def _known(stream: _streams.TokenStream, target: Vocabulary, new: npt.NDArray[np.int64], fixed: Mapping[int, int]) -> _streams.TokenStream:
    """The text as places in `text_order`, without tokens that have no row."""
    places = _streams.ranks(target)[stream.ids]
    known = np.zeros(len(target) + 1, dtype=bool)  # its last place is that of special tokens, -1
    known[new] = known[list(fixed)] = True
    kept = _streams.TokenStream(places, stream.pages).only(known[places])
    if len(kept.ids) < 2:
        raise UnavailableError("the text has no two tokens to learn from", "give corpora with text")
    return kept


def _table(
    size: int, fixed: Mapping[int, int], new: npt.NDArray[np.int64], factors: Factors, rows: Any, mixed: npt.NDArray[np.float32]
) -> WordTable:
    values = np.zeros((size, rows.shape[1]), dtype=np.float32)
    values[list(fixed)] = rows[list(fixed.values())]
    mixture = np.full(size, -1, dtype=np.int64)
    mixture[new] = np.arange(len(new))
    return WordTable(values, mixture, factors, mixed)


def _training(params: TokenWord2Vec) -> Training:
    published = params.compatibility == "reference"
    return Training(
        params.window, params.negatives, params.batch, params.epochs, params.max_steps, params.rate, params.keep,
        "summed" if published else "standard", replace=not published,
    )  # fmt: skip


def _save(folder: Path, sides: Mapping[str, Factors], **arrays: Any) -> None:
    for name, factors in sides.items():
        arrays |= {f"{name}_left": factors.left, f"{name}_right": factors.right}
    for name, values in arrays.items():
        if values.dtype == np.float32 and not np.isfinite(values).all():
            raise DataError("the weights of token_word2vec diverged", "lower its rate")
        np.save(folder / f"{name}.npy", values, allow_pickle=False)
