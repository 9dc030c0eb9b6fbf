"""Real inputs that every comparison shares: the tables of SmolLM2, German tokenizers of 8,192 and 16,384 tokens, resources made from text.

Each is an artifact of the pipeline. One that a finished run has is taken from there: `results/` of this checkout, or of the checkout that
TOKGRAFT_FINISHED_RUN names. What neither has is made by the stage's own command, once, in `.cache/parity`; `make parity` does so, and any
other run of the tests skips what is missing.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from tokgraft import resources
from tokgraft.methods import Floats, Transplant
from tokgraft.models.io import load_model, load_tokenizer
from tokgraft.models.tables import embedding_tables
from tokgraft.rows.donor import Donor
from tokgraft.segmenter import Segmenter
from tokgraft.vocab import Vocabulary

ROOT = Path(__file__).parents[1]
MADE = ROOT / ".cache" / "parity"
SIZES = (8192, 16384)
BASE, LANGUAGE = "smollm2-135m", "deu_Latn"
FIGURES: list[str] = []  # what was measured, for the end of the report
DONOR = "budget=300000"  # bytes that the donor is trained on
LIMIT = 1e-4  # largest relative difference where the reference is right


def artifact(where: str, *command: str | Path) -> Path:
    """Folder of the artifact `results/<where>`, made by `tokgraft <command>` if there is none."""
    for root in (Path(os.environ.get("TOKGRAFT_FINISHED_RUN") or ROOT) / "results", ROOT / "results", MADE):
        if (root / where / "manifest.json").is_file():
            return root / where
    if os.environ.get("TOKGRAFT_PARITY") != "all":
        pytest.skip(f"there is no results/{where}: make parity makes it, TOKGRAFT_FINISHED_RUN names a checkout that has it")
    done = subprocess.run(
        [sys.executable, "-m", "tokgraft", *map(str, command), "--out", str(MADE / where)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return MADE / where


def base() -> Path:
    """The base model's folder."""
    return artifact(f"models/{BASE}/base", "model", "--model", BASE)


def corpus(language: str = LANGUAGE) -> Path:
    """Folder of a corpus."""
    english = [] if language == "eng_Latn" else ["--english", corpus("eng_Latn")]
    return artifact(f"corpora/{language}", "corpus", "--language", language, *english)


def recipe(size: int) -> str:
    """Name of the recipe of that many tokens."""
    return f"bpe{size // 1024}k"


def target_folder(size: int) -> Path:
    """Folder of the German tokenizer of `size` tokens."""
    given = ["--recipe", recipe(size), "--corpus", corpus(), "--english", corpus("eng_Latn"), "--base", base()]
    return artifact(f"tokenizers/{BASE}/{LANGUAGE}/{recipe(size)}", "tokenizer", *given)


@cache
def resource(name: str, size: int, *settings: str) -> Any:
    """A resource, loaded; those that know no tokenizer are the same for every size."""
    needs = resources.needs(name)
    folders = {"corpus": corpus, "english": lambda: corpus("eng_Latn"), "tokenizer": lambda: target_folder(size), "base": base}
    given = [word for need, folder in folders.items() if need in needs for word in (f"--{need}", folder())]
    place = f"resources/{name}/{BASE}/{LANGUAGE}/{recipe(size) if 'tokenizer' in needs else 'any'}"
    sets = [word for setting in settings for word in ("--set", setting)]
    return resources.load(name, artifact(place, "resource", "--name", name, *given, *sets), size, vocabulary(size).fingerprint)


@cache
def source() -> PreTrainedTokenizerFast:
    """The base's tokenizer."""
    return load_tokenizer(base())


@cache
def target(size: int) -> PreTrainedTokenizerFast:
    """The German tokenizer."""
    found = load_tokenizer(target_folder(size))
    assert len(found) == size
    return found


@cache
def vocabulary(size: int = 0) -> Vocabulary:
    """The vocabulary of a German tokenizer, or of the base."""
    return Vocabulary.from_tokenizer(target(size) if size else source())


@cache
def tables() -> tuple[Floats, Floats]:
    """The base's table (49,152 x 576), which serves as input and head, and a head of its own made from it (see `disturbed`)."""
    E, _ = embedding_tables(load_model(base()))
    return E, disturbed(E, 1)


def disturbed(table: Floats, seed: int) -> Floats:
    """A table as another one of the same tokens may be: columns in another order, rows of other lengths, noise of a tenth."""
    rng = np.random.default_rng(seed)
    lengths = np.exp(rng.normal(0, 0.2, (len(table), 1)))
    noise = rng.normal(0, 0.1 * table.std(), table.shape)
    return np.asarray(table[:, rng.permutation(table.shape[1])] * lengths + noise, dtype=np.float32)


def task(size: int, tied: bool = True, **loaded: Any) -> Transplant:
    """The transplant of the base to a German tokenizer, with the resources given."""
    E, U = tables()
    return Transplant(
        vocabulary(), vocabulary(size), E, E if tied else U, segmenter=Segmenter(source(), vocabulary()), resources=loaded,
        load_target_segmenter=lambda: Segmenter(target(size), vocabulary(size)),
    )  # fmt: skip


def with_donor(size: int, tied: bool = True) -> Transplant:
    """The transplant with a donor trained by the pipeline (width 256, on 300 kB of text), with a head of its own for an untied base."""
    donor: Donor = resource("donor", size, DONOR)
    return task(size, tied, donor=donor if tied else Donor(donor.E, disturbed(donor.E, 2)))


def narrow(given: Transplant, width: int) -> Transplant:
    """The same transplant with the first `width` columns of each table, for references whose time grows with the width."""
    E = np.ascontiguousarray(given.E[:, :width])
    return replace(given, E=E, U=E if given.tied else np.ascontiguousarray(given.U[:, :width]))


def write_model(folder: Path, tokenizer: PreTrainedTokenizerFast, E: Floats, U: Floats | None) -> None:
    """A complete model folder with these tables around a small random body."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(E), hidden_size=E.shape[1], intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        tie_word_embeddings=U is None, bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        model.get_input_embeddings().weight.copy_(torch.from_numpy(E))
        if U is not None:
            model.get_output_embeddings().weight.copy_(torch.from_numpy(U))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def differences(ours: Floats, theirs: Any) -> Any:
    """Largest difference of each row, relative to the largest value of the reference's row, (n,)."""
    expected = np.asarray(theirs, dtype=np.float64)
    return np.abs(ours - expected).max(axis=1) / np.maximum(np.abs(expected).max(axis=1), np.finfo(float).tiny)


def compare(what: str, ours: Floats, theirs: Any, limit: float = LIMIT) -> float:
    """Report the largest difference of rows, and fail above the limit."""
    assert len(ours) == len(theirs) > 0 and np.isfinite(ours).all(), what
    found = differences(ours, theirs)
    tell(f"{what}: {len(found):,} rows, largest relative difference {found.max():.1e}")
    assert found.max() <= limit, f"{what}: row {found.argmax()} differs by {found.max():.2e}, {np.sum(found > limit)} above {limit}"
    return float(found.max())


def tell(figure: str) -> None:
    """Print a figure, and keep it for the end of the report."""
    FIGURES.append(figure)
    print(figure)


def make() -> None:
    """Make all of it: `make parity` does so before the tests, whose time is limited."""
    for size in SIZES:
        for name, *settings in (("token_vectors",), ("word_vectors",), ("dictionary",), ("donor", DONOR)):
            resource(name, size, *settings)


if __name__ == "__main__":
    make()
