"""A donor: a small language model that owns the target tokenizer, of which methods use the tables."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from tokgraft.config.model import ScratchModel
from tokgraft.config.recipe import TrainingRecipe, TrainingStage
from tokgraft.errors import ArtifactError, ConfigError
from tokgraft.resources._contract import Inputs, ResourceParams, resource
from tokgraft.rows.donor import Donor
from tokgraft.vocab import Vocabulary

LENGTH, BATCH = 256, 4
VALIDATION_BYTES = 20_000
ROLES = ("bos", "eos", "pad", "unk", "mask", "cls", "sep")


class DonorParams(ResourceParams):
    """A Llama trained from random weights on train pages cut into target tokens; or the tables of a given model with this tokenizer."""

    layers: int = Field(2, ge=1, description="Transformer layers.")
    hidden: int = Field(256, ge=4, description="Hidden size: the width of the donor's tables.")
    heads: int = Field(4, ge=1, description="Attention heads.")
    budget: int = Field(2_000_000, ge=1, description="Bytes of text it is trained on; a smaller corpus is read several times.")
    rate: float = Field(2e-3, gt=0, description="Peak learning rate.")
    tied: bool = Field(True, description="Whether its input table and head are one.")
    seed: int = Field(0, ge=0, description="Seed of the first weights and of the order of pages.")
    model: str | None = Field(None, description="Folder of a causal model that owns the tokenizer, to be used as it is.")

    def canonical(self) -> dict[str, Any]:
        """The settings as JSON values; a given model is known by its content (in resource.json), not by its folder."""
        return super().canonical() if self.model is None else {"model": "given"}


def load(folder: Path, size: int) -> Donor:
    """The donor's tables for a vocabulary of `size` ids; a row of zeros is an id without a token.

    Raises:
        ArtifactError: The tables do not fit the vocabulary or each other, or hold NaN.
    """
    E = np.load(folder / "input.npy", allow_pickle=False)
    U = np.load(folder / "output.npy", allow_pickle=False) if (folder / "output.npy").is_file() else E
    for table in (E, U):
        if table.ndim != 2 or len(table) != size or table.dtype != np.float32:
            raise ArtifactError(f"{folder}: a table of {table.shape} {table.dtype}, vocabulary of {size}", "make the resource again")
        if not np.isfinite(table).all():
            raise ArtifactError(f"{folder}: a table holds NaN or Inf", "make the resource again")
    return Donor(E, U)


@resource(
    "donor",
    DonorParams,
    load=load,
    version=1,
    needs={"corpus", "tokenizer"},
    libraries=["numpy", "safetensors", "tokenizers", "torch", "transformers"],
)
def build(inputs: Inputs, params: DonorParams, folder: Path) -> Mapping[str, Any]:
    """Write `input.npy` and, unless the donor is tied, `output.npy`, float32, a row for each id of the tokenizer.

    Raises:
        ConfigError: The shape is impossible, or the given model does not own the tokenizer.
        DataError: The corpus has no train or dev pages, or too little text.
        ModelError: The given model cannot be loaded, or training diverges.
    """
    from tokgraft.models.io import load_tokenizer

    tokenizer = load_tokenizer(Path(str(inputs.tokenizer)))
    vocabulary = Vocabulary.from_tokenizer(tokenizer)
    corpus = Path(str(inputs.corpus))
    if params.model is None:
        tables, facts = _trained(corpus, tokenizer, vocabulary, params)
    else:
        tables, facts = _given(Path(params.model), corpus, vocabulary)
    for name, table in zip(("input", "output"), tables):
        np.save(folder / f"{name}.npy", table, allow_pickle=False)
    return {"vocabulary": vocabulary.fingerprint, "tied": len(tables) == 1, "width": int(tables[0].shape[1]), **facts}


def _trained(corpus: Path, tokenizer: Any, vocabulary: Vocabulary, params: DonorParams) -> tuple[list[Any], dict[str, Any]]:
    """Tables of a new model, and what its training says."""
    from tokgraft.models.io import save_model
    from tokgraft.models.sources import scratch
    from tokgraft.training.objectives import next_token
    from tokgraft.training.run import train

    if params.hidden % params.heads or (params.hidden // params.heads) % 2:
        raise ConfigError(f"donor: hidden {params.hidden} does not split into {params.heads} heads of even width", "change one of them")
    own, order = canonical_tokenizer(tokenizer, vocabulary)
    shape = ScratchModel(
        kind="scratch", tokenizer="given", recipe="given", layers=params.layers, hidden=params.hidden, heads=params.heads,
        intermediate=-(-params.hidden * 8 // 3 // 16) * 16, context=LENGTH, tied=params.tied, seed=params.seed,
    )  # fmt: skip
    recipe = TrainingRecipe(
        stages=[
            TrainingStage(name="donor", train=["all"], bytes=params.budget, lr=params.rate, warmup=0.05, objective=next_token.NAME)
        ],
        sequence_length=LENGTH, batch_size=BATCH, weight_decay=0.1, validations=1, validation_bytes=VALIDATION_BYTES, checkpoints=0,
        dtype="float32",
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="tokgraft-") as place:
        save_model(scratch.build(shape, own), own, Path(place) / "start")
        told = train(Path(place) / "start", corpus, recipe, Path(place) / "donor", seed=params.seed, device="cpu")
        compact = _tables(Path(place) / "donor")
    tables = []
    for table in compact:
        tables.append(np.zeros((len(vocabulary), table.shape[1]), dtype=np.float32))
        tables[-1][order] = table
    facts = {key: told[key] for key in ("bytes", "tokens", "flops", "parameters", "epochs")}
    return tables, {**facts, "bits_per_byte": told["final_val_bpb"]}


def _given(model: Path, corpus: Path, vocabulary: Vocabulary) -> tuple[list[Any], dict[str, Any]]:
    """Tables of a given model, and how well it knows the language."""
    from tokgraft import artifacts
    from tokgraft.models.bits import bits_per_byte, document_bits
    from tokgraft.models.io import check_model, load_model, load_tokenizer
    from tokgraft.training.pages import Pages

    tokenizer = load_tokenizer(model)
    _demand_same(Vocabulary.from_tokenizer(tokenizer), vocabulary, model)
    network: Any = load_model(model)
    check_model(network, tokenizer)
    bits = bits_per_byte(document_bits(network, tokenizer, Pages(corpus, "dev").sample(VALIDATION_BYTES), max_tokens=LENGTH))
    tables = []
    for table in _tables_of(network):
        tables.append(np.zeros((len(vocabulary), table.shape[1]), dtype=np.float32))
        tables[-1][list(vocabulary.ids)] = table[list(vocabulary.ids)]
    facts = {"donor": artifacts.fingerprint(model), "parameters": network.num_parameters(), "bytes": 0, "flops": 0}
    return tables, {**facts, "bits_per_byte": bits}


def _demand_same(theirs: Vocabulary, ours: Vocabulary, model: Path) -> None:
    """Every id must stand for the same bytes in both; roles may differ, since methods take special tokens from the base."""
    for number in range(max(len(theirs), len(ours))):
        left, right = (side.tokens[number] if number < len(side) else None for side in (theirs, ours))
        if (left and (left.kind, left.text)) != (right and (right.kind, right.text)):
            shown = [repr(token.shown) if token else "no token" for token in (left, right)]
            raise ConfigError(
                f"{model} does not own the tokenizer: id {number} is {shown[0]} there and {shown[1]} in the target",
                "give a model that was trained with exactly this tokenizer, or none to have a small one trained",
            )


def _tables(folder: Path) -> list[Any]:
    from tokgraft.models.io import load_model

    return _tables_of(load_model(folder))


def _tables_of(model: Any) -> list[Any]:
    from tokgraft.models.tables import embedding_tables

    return [table for table in embedding_tables(model) if table is not None]


def canonical_tokenizer(tokenizer: Any, vocabulary: Vocabulary) -> tuple[Any, list[int]]:
    """A copy of the tokenizer with ids in canonical order and without gaps, and the old ids in that order.

    A donor trained with it does not depend on the ids.

    A tokenizer that names no end of text takes the end of a sentence pair's part, or its beginning, for it.
    """
    from transformers import PreTrainedTokenizerFast

    from tokenizers import Tokenizer

    spec = json.loads(tokenizer.backend_tokenizer.to_str())
    spec.update(post_processor=None, truncation=None, padding=None)
    model = spec["model"]
    # The library numbers tokens that were added to a vocabulary after those of the vocabulary, whatever the file says.
    listed = len(model["vocab"]) if isinstance(model["vocab"], list) else 0
    own = set(range(listed)) if listed else set(model["vocab"].values())
    order = sorted(vocabulary.canonical_order, key=lambda number: number not in own)
    place = {old: new for new, old in enumerate(order)}
    if isinstance(model["vocab"], dict):
        model["vocab"] = dict(sorted(((text, place[number]) for text, number in model["vocab"].items()), key=lambda item: item[1]))
    else:
        model["vocab"] = [model["vocab"][old] for old in order[:listed]]
        if model.get("unk_id") is not None:
            model["unk_id"] = place[model["unk_id"]]
    for entry in spec["added_tokens"]:
        entry["id"] = place[entry["id"]]
    spec["added_tokens"].sort(key=lambda entry: entry["id"])
    names = {role: getattr(tokenizer, f"{role}_token", None) for role in ROLES}
    names["eos"] = names["eos"] or names["sep"] or names["bos"]
    given = {f"{role}_token": name for role, name in names.items() if name is not None}
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(spec)), **given), order
