"""From a base model folder and a tokenizer folder to an adapted model folder."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from tokgraft import artifacts, methods, resources
from tokgraft.config.bounds import SEEDS, Dtype
from tokgraft.config.overrides import parse_all
from tokgraft.errors import ConfigError, ModelError, TokenizerError
from tokgraft.garbage import rarely_collected
from tokgraft.logs import log, processor_seconds
from tokgraft.methods import Floats, Rows, States, Transplant
from tokgraft.segmenter import Segmenter
from tokgraft.transplant import _gate, _padding
from tokgraft.transplant._facts import facts, provenance_lines
from tokgraft.transplant._overrides import choose, override
from tokgraft.transplant._predicted import most_predicted, warn
from tokgraft.transplant._specials import tell
from tokgraft.vocab import Vocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from tokgraft.models.ids import Moved

PROVENANCE = "provenance.jsonl"
FACTS = "transplant.json"
TIMING = "timing.json"
LIBRARIES = ("numpy", "tokenizers", "torch", "transformers")


@dataclass(frozen=True)
class _Base:
    model: PreTrainedModel
    tables: tuple[Floats, Floats]
    bias: Floats | None
    columns: Floats | None


@rarely_collected()
def run(
    *, model: str | Path, tokenizer: str | Path | None = None, method: str = "mean", out: str | Path,
    params: Mapping[str, Any] | None = None, resources: Mapping[str, str | Path] | None = None, seed: int = 0,
    pad_to_multiple: int | None = None, rows: _padding.Wanted = None, overrides: Mapping[str, str] | None = None,
    dtype: Dtype | None = None, trust_remote_code: bool = False, corpus: str | Path | None = None,
) -> Path:  # fmt: skip
    """Transplant a tokenizer into a model and write a complete model folder.

    Args:
        model: Folder of the base model, with its tokenizer.
        tokenizer: Folder of the new tokenizer; None: the base's own (for the method `none`).
        method: A method, or a chain of one method and refiners ("mean+prior").
        out: Folder to write. Beside the model it gets `provenance.jsonl` (a line for each row) and `transplant.json` (counts, norms).
        params: Parameters of the method; for a chain with refiners, part -> parameters.
        resources: Folder of each resource that the method requires, by name.
        seed: Seed of everything random.
        pad_to_multiple: Round the number of rows up to a multiple of this. A plain model folder cannot keep padded rows out of the
            softmax (only a head with a bias can), so leave it off unless what loads the model masks them.
        rows: Number of rows, at least as many as the vocabulary has ids; "base": the base's, padded rows included. Not with `pad_to_multiple`.
        overrides: Rows that are set after the method has made all: token of the new vocabulary -> "like:TOKEN" (a copy of the base's rows and
            bias of this token), "zero" (a zero input row, and an output row that is never the most likely) or "text:SOME TEXT" (the mean of
            the base's rows of the text's tokens). A token is named by its string in the vocabulary, or by the text that it stands for.
        dtype: Floating type of the written weights: "float32", "bfloat16" or "float16". None: the base's, and weights of its body that are
            stored in a wider one stay so. Rows are always made in float32 and rounded once.
        trust_remote_code: Run Python code that the model folder brings.
        corpus: A corpus artifact of the language: the adapted model is run on some of its dev text, the tokens that it predicts most are
            written to `transplant.json`, and one that is predicted far too often is warned of. None: that is not looked at.

    Returns:
        The folder.

    Raises:
        ConfigError: The method, a parameter, a resource, an override or the number of rows is wrong or missing.
        TokenizerError: A tokenizer cannot be used.
        ModelError: The model is damaged, does not fit its tokenizer, or cannot be treated by the method.
        DataError: The corpus has no dev pages.
        ArtifactError: A folder is missing, or the output cannot be written.
    """
    base, new, out = Path(model), Path(tokenizer if tokenizer is not None else model), Path(out)
    chain = methods.parse(method, params)
    given = {name: Path(folder) for name, folder in (resources or {}).items()}
    SEEDS.check(seed, "seed")
    _padding.check(rows, pad_to_multiple, chain.first.keeps_tokenizer)
    wanted = parse_all(overrides or {})
    if dtype not in (None, *get_args(Dtype)):
        raise ConfigError(f"dtype is {dtype!r}", f"give one of {', '.join(get_args(Dtype))}, or leave it out")
    if tokenizer is None and not chain.first.keeps_tokenizer:
        raise ConfigError(f"{chain.first.name} makes rows for a new tokenizer, and none is given", "give --tokenizer DIR")
    reads = {"model": base, "tokenizer": new, **({} if corpus is None else {"corpus": Path(corpus)})}
    artifacts.check_place(out, "model", reads | {f"resource {name}": folder for name, folder in given.items()})
    _check_call(chain, given, base, new)
    _gate.prepare()
    begun = artifacts.begin(out, "model", reads | {f"resource_{name}": given[name] for name in sorted(chain.requires)})
    started, worked = time.monotonic(), processor_seconds()
    source_tokenizer, target_tokenizer = _tokenizers(base, new, trust_remote_code)
    source, target = _vocabularies(base, source_tokenizer, new, target_tokenizer, chain.first.keeps_tokenizer)
    loaded = _load_resources(chain.requires, given, target)
    read = _read(base, source_tokenizer, len(source), trust_remote_code)
    source = Vocabulary(source.tokens[: len(read.tables[0])], source.scheme)  # without tokens that have no row
    task = Transplant(
        source, target, *read.tables, bias=read.bias, segmenter=Segmenter(source_tokenizer, source), resources=loaded, seed=seed,
        load_model=lambda: _load(base, trust_remote_code), load_target_segmenter=lambda: Segmenter(target_tokenizer, target),
        states=_states(lambda: _load(base, trust_remote_code)), columns=read.columns,
    )  # fmt: skip
    methods.check_support(chain, task.tied)
    size = _padding.total(rows, pad_to_multiple, len(target), read.model.get_input_embeddings().weight.shape[0])
    chosen = choose(wanted, task, any(part.unties for part in chain.parts))
    moved = [] if chain.first.keeps_tokenizer else _follow(read.model, target_tokenizer, task)
    log.info("%s: %d -> %d tokens, %d of them shared", method, len(source.ids), len(target.ids), len(task.overlap))
    tell(task)
    made_rows, flops = _counted(chain, task)
    if not chain.first.keeps_tokenizer and (changed := _changed(task, made_rows)):
        log.warning("the new vocabulary keeps every token of the base, but %s changes the rows of %d of them: the base's own languages will "
                    "suffer. Without refiners, methods that copy the overlap leave them as they are", method, changed)  # fmt: skip
    new_rows = override(made_rows, task, chosen)
    built = time.monotonic()
    known, old_sizes = _gate.probe(read.model, task, new_rows, seed), _gate.vocabulary_sizes(read.model)
    settings = {
        "method": method,
        "params": chain.settings,
        "versions": {part.name: part.version for part in chain.parts},
        "seed": seed,
        "pad_to_multiple": pad_to_multiple,
        **({} if dtype is None else {"dtype": dtype}),
        **({} if rows is None else {"rows": rows}),
        **({"overrides": dict(overrides)} if overrides else {}),
    }
    with artifacts.create(out, "model", settings, begun, LIBRARIES) as folder:
        if chain.first.keeps_tokenizer:
            _keep(read.model, new_rows, changed=new_rows is not made_rows or len(chain.parts) > 1)
        else:
            _replace(read.model, new_rows, size)
        _save(read.model, target_tokenizer, folder, base, dtype)
        ids = {entry.where: entry.facts() for entry in moved if entry.old is not None or entry.new is not None}
        expected = _gate.Expected(
            folder=str(folder), trust_remote_code=trust_remote_code, old_sizes=old_sizes,
            texts=_gate.texts(None if corpus is None else Path(corpus), target), base_added=_gate.added(source_tokenizer),
            token_ids={where: entry["new"] for where, entry in ids.items()},
            tolerance=_gate.EXACT if dtype in (None, "float32") else _gate.ROUNDED,
        )  # fmt: skip
        with ThreadPoolExecutor(max_workers=1) as pool:
            gate = pool.submit(_gate.check, expected, known)  # it works in its own process while the facts are written here
            _write(folder / PROVENANCE, "".join(provenance_lines(target, new_rows)))
            told = facts(method, task, new_rows, read.model.get_input_embeddings().weight.shape[0]) | {"ids": ids}
            if chosen.sources:
                told["overrides"] = chosen.facts(target)
            if corpus is not None:
                predicted = most_predicted(read.model, target_tokenizer, Path(corpus), new_rows.made.tolist())
                warn(predicted, method)
                told["most_predicted"] = [one.facts() for one in predicted]
            wrote = time.monotonic()
            told["gate"] = gate.result()
        _write(folder / FACTS, _json(told))
        timing = {
            "rows": round(built - started, 3), "model": round(wrote - built, 3), "gate": round(time.monotonic() - wrote, 3),
            "processor": round(processor_seconds() - worked, 3), "flops": flops, "resources": {name: _seconds(given[name], "wall_seconds") for name in sorted(loaded)},
            "resources_processor": {name: _seconds(given[name], "processor_seconds") for name in sorted(loaded)},
        }  # fmt: skip
        _write(folder / TIMING, _json(timing))
    return out


def _changed(task: Transplant, rows: Rows) -> int:
    """How many tokens of the base have other rows than before, where all its text tokens are in the new vocabulary; else 0."""
    if not set(task.source.text_ids) <= {match.source for match in task.overlap.values()}:
        return 0
    new, old = list(task.overlap), [match.source for match in task.overlap.values()]
    output = rows.input if rows.output is None else rows.output
    return int(((rows.input[new] != task.E[old]).any(axis=1) | (output[new] != task.U[old]).any(axis=1)).sum())


def _counted(chain: methods.Chain, task: Transplant) -> tuple[Rows, int]:
    """The rows, and the FLOPs of torch's matrix products on the way (forward passes, refiners): 0 for a chain that runs no model."""
    if not chain.runs_model:
        return chain.apply(task), 0
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        rows = chain.apply(task)
    return rows, int(counter.get_total_flops())


def _seconds(resource: Path, kind: str) -> float | None:
    """How long a resource took to make; None where its folder does not say (a copy without `run.json`)."""
    found = artifacts.run(resource).get(kind)
    return float(found) if isinstance(found, int | float) else None


def _check_call(chain: methods.Chain, given: Mapping[str, Path], base: Path, new: Path) -> None:
    """Everything that can be seen without opening a file of weights."""
    for name in given:
        resources.RESOURCES.get(name, "resources")
    for name in sorted(chain.requires):
        if name not in given:
            flags = " ".join(f"--{need} DIR" for need in sorted(resources.needs(name)))
            raise ConfigError(
                f"{chain.name} requires the resource {name}",
                f"make it with `tokgraft resource --name {name} {flags} --out DIR`, then give --resource {name}=DIR",
            )
    for name in sorted(set(given) - chain.requires):
        log.warning("the resource %s is not used by %s", name, chain.name)
    if not base.is_dir():
        raise ModelError(f"model folder {base} does not exist", "give a folder with config.json, model.safetensors and tokenizer.json")
    if chain.first.keeps_tokenizer and new.resolve() != base.resolve() and not (new / "tokenizer.json").is_file():
        raise TokenizerError(f"{new} holds no tokenizer.json", "give the base's own tokenizer, or none at all")


def _tokenizers(base: Path, new: Path, trust: bool) -> tuple[PreTrainedTokenizerFast, PreTrainedTokenizerFast]:
    from tokgraft.models.io import load_tokenizer

    return load_tokenizer(base, trust_remote_code=trust), load_tokenizer(new, trust_remote_code=trust)


def _vocabularies(base: Path, source_tokenizer: Any, new: Path, target_tokenizer: Any, same: bool) -> tuple[Vocabulary, Vocabulary]:
    source, target = Vocabulary.from_tokenizer(source_tokenizer), Vocabulary.from_tokenizer(target_tokenizer)
    for folder, vocabulary in ((base, source), (new, target)):
        if not vocabulary.text_ids:
            raise TokenizerError(f"{folder}: the tokenizer has special tokens only", "train it on text")
    if not target.roles:
        raise TokenizerError(
            f"{new}: no special token of the tokenizer has a role (bos, eos, pad, unk, mask, cls, sep)",
            "name at least eos_token in its tokenizer_config.json",
        )
    if same and source.fingerprint != target.fingerprint:
        raise ConfigError(f"the method none keeps the original tokenizer, but {new} holds another one", f"give --tokenizer {base}")
    return source, target


def _load_resources(required: set[str], given: Mapping[str, Path], target: Vocabulary) -> dict[str, Any]:
    return {name: resources.load(name, given[name], len(target), target.fingerprint) for name in sorted(required)}


def _load(base: Path, trust: bool) -> PreTrainedModel:
    from tokgraft.models.io import load_model

    return load_model(base, trust_remote_code=trust)


def _read(base: Path, tokenizer: PreTrainedTokenizerFast, size: int, trust: bool) -> _Base:
    """The model and its tables, without the padding behind the last token."""
    from tokgraft.models.io import check_model, embedding_tables, head_bias
    from tokgraft.models.tables import further_columns

    model = _load(base, trust)
    check_model(model, tokenizer)
    inputs, outputs = embedding_tables(model)
    bias, columns = head_bias(model), further_columns(model)
    if inputs.shape[0] > size:
        log.info("%d padded rows behind the last token are left out", inputs.shape[0] - size)
    source = np.ascontiguousarray(inputs[:size])
    return _Base(
        model,
        (source, source if outputs is None else np.ascontiguousarray(outputs[:size])),
        None if bias is None else bias[:size].copy(),
        None if columns is None else columns[:size],
    )


def _follow(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, task: Transplant) -> list[Moved]:
    """Token ids of both configs in the new vocabulary; before the rows are made, because a model may need a token that is not there."""
    from tokgraft.models.checks import check_positions
    from tokgraft.models.ids import follow

    check_positions(model, tokenizer)
    return follow(model, task.source, task.target, task.overlap)


def _states(load: Callable[[], PreTrainedModel]) -> States:
    from tokgraft.models.states import BodyStates

    return BodyStates(load)


def _replace(model: PreTrainedModel, rows: Rows, size: int) -> None:
    masked = np.full(size - len(rows.input), _padding.MASKED, dtype=np.float32)
    bias = rows.bias if rows.bias is None else np.concatenate([rows.bias, masked])
    output, columns = (None if table is None else _padding.padded(table, size) for table in (rows.output, rows.columns))
    _put(model, _padding.padded(rows.input, size), output, bias, columns)


def _put(model: PreTrainedModel, inputs: Floats, outputs: Floats | None, bias: Floats | None, columns: Floats | None) -> None:
    """Replace the tables; a tied model that gets an output table is untied."""
    from tokgraft.models.io import is_tied, set_embedding_tables, untie

    if outputs is not None and is_tied(model):
        log.info("the head gets a table of its own: the model is no longer tied")
        set_embedding_tables(model, inputs, None, bias, columns)
        untie(model)
    set_embedding_tables(model, inputs, outputs, bias, columns)


def _keep(model: PreTrainedModel, rows: Rows, changed: bool) -> None:
    """The base's own tokenizer: the model stays as it is, padding included; only a refiner or an override changes rows."""
    from tokgraft.models.io import embedding_tables, head_bias
    from tokgraft.models.tables import further_columns

    if not changed:
        return
    inputs, outputs = embedding_tables(model)
    bias = head_bias(model)
    if outputs is None and rows.output is not None:
        outputs = inputs.copy()
    inputs[: len(rows.input)] = rows.input
    if outputs is not None and rows.output is not None:
        outputs[: len(rows.output)] = rows.output
    if bias is not None and rows.bias is not None:
        bias[: len(rows.bias)] = rows.bias
    if (columns := further_columns(model)) is not None and rows.columns is not None:
        columns[: len(rows.columns)] = rows.columns
    _put(model, inputs, outputs, bias, columns)


def _save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path, base: Path, dtype: Dtype | None) -> None:
    """Round what is to be rounded, so that what is looked at afterwards is what was written, and write it."""
    from tokgraft.models.dtypes import round_weights
    from tokgraft.models.io import save_model
    from tokgraft.models.tables import vocabulary_tensors
    from tokgraft.models.weights import stored_dtype

    stored = stored_dtype(base)
    round_weights(model, dtype or stored, None if dtype else vocabulary_tensors(model))
    save_model(model, tokenizer, folder, dtype or stored)


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
