"""Tables of an adapted base in a sibling: an instruct or otherwise fine-tuned model of the same base.

Jiang et al., *Franken-Adapter* (arXiv:2502.08037) train the tables of a base for new languages and put them into its instruct model; Minixhofer et
al., *Zero-Shot Tokenizer Transfer* (arXiv:2405.07883) do the same with predicted tables. Both work because tuning hardly moves the rows.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from tokgraft import artifacts, jsonl
from tokgraft.errors import ArtifactError, ConfigError, ModelError, TokenizerError
from tokgraft.garbage import rarely_collected
from tokgraft.logs import log
from tokgraft.methods import Floats, Rows, Transplant
from tokgraft.overlap import overlap
from tokgraft.transplant import _gate
from tokgraft.transplant._run import LIBRARIES, PROVENANCE, _put, _save
from tokgraft.vocab import ROLES, Vocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from tokgraft.models.ids import Moved

FACTS = "sibling.json"
NEAR = 0.1  # largest median distance of the sibling's rows from the base's, in lengths of a usual row; of unrelated models it is above 1
COPIED = ("copied", "role")  # provenance of the rows that take over what the sibling has changed
SHOWN = 5  # rows that are named

Difference = Literal["drop", "add"]
DIFFERENCES: tuple[str, ...] = get_args(Difference)


@dataclass(frozen=True)
class _Parts:
    """What is read of a model.

    Attributes:
        input: Input table, (rows, d).
        output: Output table, (rows, d_out); `input` itself where the model is tied.
        bias: Bias of the head, (rows,), or None.
        columns: What the model has for each token beside these, (rows, k), or None.
        shapes: Name of every other tensor -> its shape.
        hashes: Name of every other tensor -> hash of its values.
    """

    input: Floats
    output: Floats
    bias: Floats | None
    columns: Floats | None
    shapes: Mapping[str, tuple[int, ...]]
    hashes: Mapping[str, str]

    @property
    def tied(self) -> bool:
        return self.output is self.input


@rarely_collected()
def apply(
    adapted: str | Path, base: str | Path, sibling: str | Path, out: str | Path, *, difference: Difference = "drop",
    trust_remote_code: bool = False,
) -> Path:  # fmt: skip
    """Write the sibling with the tables and the tokenizer of an adapted base.

    Body, configs, chat template, roles and stop ids are the sibling's; ids follow their tokens into the new vocabulary.

    Args:
        adapted: What `tokgraft transplant` made of the base, trained or not.
        base: The model that it was made from.
        sibling: A model that was fine-tuned from the same base, with the base's vocabulary.
        out: Folder to write. Beside the model it gets `provenance.jsonl` (the adapted model's) and `sibling.json` (distances of the rows, ids).
        difference: What becomes of the sibling's own changes of the rows: "drop" takes the adapted rows as they are, "add" adds
            (sibling - base) to the row of every token that the transplant copied.
        trust_remote_code: Run Python code that the folders bring.

    Returns:
        The folder.

    Raises:
        ConfigError: `difference` is unknown.
        TokenizerError: Base and sibling have other tokens, or the new vocabulary lacks a token at which the sibling stops.
        ModelError: The models are not of one base, or the sibling's rows are too far from the base's.
        ArtifactError: A folder is missing or damaged, or the output cannot be written.
    """
    from tokgraft.models.io import check_model, load_model, load_tokenizer

    if difference not in DIFFERENCES:
        raise ConfigError(f"difference {difference!r} is unknown", f"give {' or '.join(DIFFERENCES)}")
    folders = {"adapted": Path(adapted), "base": Path(base), "sibling": Path(sibling)}
    out = Path(out)
    begun = artifacts.begin(out, "model", folders)
    if not (folders["adapted"] / PROVENANCE).is_file():
        raise ArtifactError(f"{adapted} has no {PROVENANCE}", "give a model that `tokgraft transplant` made, trained or not")
    _gate.prepare()
    tokenizers = {name: load_tokenizer(folder, trust_remote_code=trust_remote_code) for name, folder in folders.items()}
    _check_tokens(tokenizers["base"], tokenizers["sibling"])
    source, old_target = (Vocabulary.from_tokenizer(tokenizers[name]) for name in ("base", "adapted"))
    same = overlap(source, old_target)
    old_tokens, tokenizer = tokenizers["sibling"], tokenizers["adapted"]
    of_sibling = Vocabulary.from_tokenizer(old_tokens)
    new, before = (_read(folders[name], tokenizers[name], trust_remote_code) for name in ("adapted", "base"))
    source = Vocabulary(source.tokens[: len(before.input)], source.scheme)  # without tokens that have no row
    _take_roles(tokenizer, old_tokens, tokenizers["base"])
    target = Vocabulary.from_tokenizer(tokenizer)
    model = load_model(folders["sibling"], trust_remote_code=trust_remote_code)
    check_model(model, old_tokens)
    own = _parts(model)
    _check_models(new, before, own)
    distances = _distances(before, own, source)
    _check_near(distances)
    trained = [name for name, value in new.hashes.items() if value != before.hashes[name]]
    if trained:
        log.warning("training has changed %d tensors of the adapted model's body (%s, ...): that is not carried over, and the new rows were "
                    "trained for that body", len(trained), trained[0])  # fmt: skip
    moved = _follow(model, tokenizer, of_sibling, target, same)
    if old_tokens.chat_template is not None:
        tokenizer.chat_template = old_tokens.chat_template
    rows = _rows(new, before, own, difference, folders["adapted"])
    size = len(source)  # rows behind it are padding
    task = Transplant(source, target, own.input[:size], own.output[:size], bias=None if own.bias is None else own.bias[:size])
    known, old_sizes = _gate.probe(model, task, rows), _gate.vocabulary_sizes(model)
    with artifacts.create(out, "model", {"difference": difference, "near": NEAR}, begun, LIBRARIES) as folder:
        _put(model, rows.input, rows.output, rows.bias, rows.columns)
        _save(model, tokenizer, folder, folders["sibling"], None)
        shutil.copyfile(folders["adapted"] / PROVENANCE, folder / PROVENANCE)
        ids = {entry.where: entry.facts() for entry in moved if entry.old is not None or entry.new is not None}
        gate = _gate.check(
            _gate.Expected(
                folder=str(folder), trust_remote_code=trust_remote_code, old_sizes=old_sizes,
                texts=_gate.texts(None, target), base_added=_gate.added(old_tokens), token_ids={where: entry["new"] for where, entry in ids.items()},
            ),
            known,
        )  # fmt: skip
        facts = {"distances": distances, "ids": ids, "gate": gate, "tied": rows.output is None, "trained_body": len(trained)}
        (folder / FACTS).write_text(json.dumps(facts, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
    return out


def _check_tokens(base: PreTrainedTokenizerFast, sibling: PreTrainedTokenizerFast) -> None:
    """Raise unless every id is the same token in both."""
    theirs, own = base.get_vocab(), sibling.get_vocab()
    apart = sorted((number, token) for token, number in (*theirs.items() - own.items(), *own.items() - theirs.items()))
    if apart:
        shown = ", ".join(f"{token!r} ({number})" for number, token in apart[:SHOWN])
        raise TokenizerError(
            f"base and sibling differ in {len(apart)} tokens: {shown}",
            "transplant the sibling itself, or a base to which its tokens were added before",
        )


def _take_roles(tokenizer: PreTrainedTokenizerFast, sibling: PreTrainedTokenizerFast, base: PreTrainedTokenizerFast) -> None:
    """Give the new tokenizer the sibling's roles: of another token than the base's, the token of the same string."""
    known = tokenizer.get_vocab()
    for role in ROLES:
        key = f"{role}_token"
        wanted = getattr(sibling, key, None)
        if wanted is None or wanted == getattr(base, key, None):
            continue
        if wanted in known:
            setattr(tokenizer, key, wanted)
        elif role == "eos":
            raise _lost(repr(wanted))
        else:
            log.warning(
                "the sibling's %s %r is not in the new vocabulary, which keeps its own: %r", key, wanted, getattr(tokenizer, key, None)
            )


def _lost(shown: str) -> TokenizerError:
    return TokenizerError(
        f"the sibling ends its answers with {shown}, which the new vocabulary lacks: it would never end",
        "adapt the base with a tokenizer that keeps this token",
    )


def _follow(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, source: Vocabulary, target: Vocabulary, same: Any) -> list[Moved]:
    """Token ids of the sibling's configs in the new vocabulary."""
    from tokgraft.models.checks import check_positions
    from tokgraft.models.ids import follow

    check_positions(model, tokenizer)
    moved = follow(model, source, target, same)
    for entry in moved:
        if entry.dropped and entry.where.endswith(".eos_token_id"):
            raise _lost(", ".join(map(repr, entry.dropped.values())))
    return moved


def _read(folder: Path, tokenizer: PreTrainedTokenizerFast, trust: bool) -> _Parts:
    """What is needed of a model, which is not kept."""
    from tokgraft.models.io import check_model, load_model

    model = load_model(folder, trust_remote_code=trust)
    check_model(model, tokenizer)
    return _parts(model)


def _parts(model: PreTrainedModel) -> _Parts:
    from tokgraft.models.io import embedding_tables, head_bias
    from tokgraft.models.tables import further_columns, vocabulary_tensors

    inputs, outputs = embedding_tables(model)
    tables = {tensor.data_ptr() for tensor in vocabulary_tensors(model)}
    body = {name: tensor for name, tensor in model.state_dict().items() if tensor.data_ptr() not in tables}
    shapes = {name: tuple(tensor.shape) for name, tensor in body.items()}
    hashes = {name: hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest() for name, tensor in body.items()}
    return _Parts(inputs, inputs if outputs is None else outputs, head_bias(model), further_columns(model), shapes, hashes)


def _check_models(new: _Parts, before: _Parts, own: _Parts) -> None:
    """Raise unless the three are one architecture of one size."""
    for name, parts in (("adapted model", new), ("sibling", own)):
        if apart := sorted(_sizes(parts).items() ^ _sizes(before).items()):
            what, size = apart[0]
            raise ModelError(
                f"the {name} is not of the same base: {what} {size} is in one of them only",
                "give the model that both were made from as --base",
            )


def _sizes(parts: _Parts) -> dict[str, tuple[int, ...]]:
    """Sizes of all parts but the number of rows."""
    further = {name: part.shape[1:] for name, part in (("bias", parts.bias), ("further tables", parts.columns)) if part is not None}
    return {"input row": parts.input.shape[1:], "output row": parts.output.shape[1:], **further, **parts.shapes}


def _distances(before: _Parts, own: _Parts, source: Vocabulary) -> dict[str, Any]:
    """How far the sibling's rows are from the base's, for each table: median, largest, and the rows that moved most.

    In lengths of a usual (the median) row of the base: rows that the base never trained are short, and any change of them is large beside them.
    """
    live, found = np.array(source.ids, dtype=np.int64), {}
    pairs = {"input": (before.input, own.input), "output": (before.output, own.output), "further": (before.columns, own.columns)}
    if before.tied and own.tied:
        pairs.pop("output")
    for name, (left, right) in pairs.items():
        if left is None or right is None:
            continue
        old, new = left[live], right[live]
        usual = float(np.median(np.linalg.norm(old, axis=1))) or 1.0
        apart = np.linalg.norm(new - old, axis=1) / usual
        order = np.argsort(-apart, kind="stable")
        found[name] = {
            "median": _round(np.median(apart)), "largest": _round(apart.max()), "beyond": int((apart > NEAR).sum()),
            "most": [[source[int(live[place])].shown, _round(apart[place])] for place in order[:SHOWN] if apart[place] > 0],
        }  # fmt: skip
    return found


def _check_near(distances: Mapping[str, Any]) -> None:
    """Say how far the rows are apart; raise where half of them are not near."""
    for name, found in distances.items():
        most = ", ".join(f"{token!r} {apart:.3g}" for token, apart in found["most"])
        log.info(
            "%s rows of base and sibling: median distance %.3g, largest %.3g, in lengths of a usual row",
            name,
            found["median"],
            found["largest"],
        )
        if found["median"] > NEAR:
            raise ModelError(
                f"the sibling's {name} rows are not the base's: half of them are at least {found['median']:.3g} apart, in lengths of a usual row "
                f"(at most {NEAR})",
                "give the base that the sibling was made from, or transplant the sibling itself",
            )
        if found["beyond"]:
            log.warning("the sibling has moved %d %s rows by more than a tenth of a row's length (%s): with --difference add they keep that", found["beyond"], name, most)  # fmt: skip


def _rows(new: _Parts, before: _Parts, own: _Parts, difference: Difference, adapted: Path) -> Rows:
    """The rows that the sibling gets, padded ones included; it stays tied where both it and the adapted model are."""
    tied = new.tied and own.tied
    inputs, outputs = new.input.copy(), None if tied else new.output.copy()
    bias, columns = (None if part is None else part.copy() for part in (new.bias, new.columns))
    if difference == "add":
        ids, sources = _copied(adapted)
        for made, left, right in (
            (inputs, before.input, own.input), (outputs, before.output, own.output), (bias, before.bias, own.bias),
            (columns, before.columns, own.columns),
        ):  # fmt: skip
            if made is not None and left is not None and right is not None:
                made[ids] += right[sources] - left[sources]
    return Rows(inputs, outputs, bias, (), columns=columns)


def _copied(adapted: Path) -> tuple[list[int], list[int]]:
    """Ids of the rows that the transplant copied, and the base's ids that they were copied from."""
    found = [
        (row["id"], row["from"][0]) for row in jsonl.records(adapted / PROVENANCE, "give a model that `tokgraft transplant` made")
        if row["how"] in COPIED
    ]  # fmt: skip
    return [number for number, _ in found], [source for _, source in found]


def _round(value: Any) -> float:
    return float(f"{float(value):.4g}")
