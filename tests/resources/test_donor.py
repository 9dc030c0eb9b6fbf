"""The donor: a small model that owns the tokenizer, trained by the pipeline's own loop or given."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest

import toys
import toytasks
from tokgraft import artifacts, resources
from tokgraft.errors import ArtifactError, ConfigError, DataError, TokenizerError
from tokgraft.models.io import save_model
from tokgraft.resources.donor import canonical_tokenizer
from tokgraft.vocab import Vocabulary

SMALL = {"layers": 1, "hidden": 16, "heads": 2, "budget": 6_000, "rate": 1e-2}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for split, lines in (("train", toys.german() * 6), ("dev", toys.german()[:10])):
        toytasks.write_corpus(tmp_path / split, lines)
    (tmp_path / "dev" / "train.jsonl").rename(tmp_path / "train" / "dev.jsonl")
    toys.tokenizer("byte_level", 600, "both").save_pretrained(tmp_path / "tokenizer")
    return tmp_path


def make(place: Path, out: str = "donor", tokenizer: str = "tokenizer", **params: object) -> Path:
    resources.make("donor", resources.Inputs(corpus=place / "train", tokenizer=place / tokenizer), {**SMALL, **params}, place / out)
    return place / out


def test_trained_donor(place: Path) -> None:
    folder, again, untied = make(place), make(place, "again"), make(place, "untied", tied=False, seed=1)
    assert artifacts.fingerprint(folder) == artifacts.fingerprint(again), "equal inputs give equal bytes"
    vocabulary = Vocabulary.from_tokenizer(toys.tokenizer("byte_level", 600, "both"))
    donor = resources.load("donor", folder, len(vocabulary), vocabulary.fingerprint)
    assert donor.tied and donor.U is donor.E and donor.E.shape == (len(vocabulary), 16) and donor.E.any(axis=1).all()
    facts = json.loads((folder / "resource.json").read_text())
    assert facts["bytes"] == 6_000 and facts["flops"] > 0 and facts["tied"] and facts["width"] == 16
    assert 0 < facts["bits_per_byte"] < np.log2(600), "better than guessing a token for each byte"
    assert {path.name for path in folder.iterdir()} == {"input.npy", "manifest.json", "resource.json", "run.json"}
    other = resources.load("donor", untied, len(vocabulary), vocabulary.fingerprint)
    assert not other.tied and other.U.shape == other.E.shape and not np.allclose(other.U, other.E)


def test_rows_follow_their_tokens_and_not_their_ids(place: Path) -> None:
    tokenizer = toys.tokenizer("byte_level", 600, "both")
    shuffled, order = toys.permuted(tokenizer)
    shuffled.save_pretrained(place / "shuffled")
    straight, crooked = (np.load(make(place, f"{name}-donor", name) / "input.npy") for name in ("tokenizer", "shuffled"))
    assert np.array_equal(crooked, straight[order])


@pytest.mark.parametrize("kind", ["byte_level", "sp_bpe", "wordpiece", "unigram"])
def test_tokens_that_were_added_to_the_vocabulary_have_ids_of_their_own(kind: str) -> None:
    """The library numbers them after all others; canonical order puts them among these."""
    added = copy.deepcopy(toys.tokenizer(kind, 600, "both"))
    added.add_tokens([" Sie", "Zelle"])
    vocabulary = Vocabulary.from_tokenizer(added)
    own, order = canonical_tokenizer(added, vocabulary)
    names = {number: token for token, number in added.get_vocab().items()}
    assert own.get_vocab() == {names[old]: new for new, old in enumerate(order)}


def test_given_donor(place: Path) -> None:
    tokenizer = toys.tokenizer("byte_level", 600, "both")
    for tied in (True, False):
        model = toys.decoder(len(tokenizer), tied, bos=0, eos=1, pad=2)
        save_model(model, tokenizer, place / f"model-{tied}")
        folder = make(place, f"given-{tied}", model=str(place / f"model-{tied}"))
        vocabulary = Vocabulary.from_tokenizer(tokenizer)
        donor = resources.load("donor", folder, len(vocabulary), vocabulary.fingerprint)
        assert donor.tied == tied
        assert np.array_equal(donor.E, model.get_input_embeddings().weight.detach().numpy())
        assert np.array_equal(donor.U, model.get_output_embeddings().weight.detach().numpy())
    manifest = (place / "given-True" / "manifest.json").read_text()
    assert str(place) not in manifest, "the folder's name decides nothing"
    facts = json.loads((place / "given-True" / "resource.json").read_text())
    assert facts["donor"] == artifacts.fingerprint(place / "model-True") and facts["bits_per_byte"] > 0


def test_bad_input_is_explained(place: Path) -> None:
    other = toys.tokenizer("byte_level")
    save_model(toys.decoder(len(other), True, bos=0, eos=1, pad=2), other, place / "other")
    with pytest.raises(ConfigError, match=r"other does not own the tokenizer: id \d+ is .* there and .* in the target"):
        make(place, model=str(place / "other"))
    with pytest.raises(TokenizerError, match="nowhere does not exist"):
        make(place, model=str(place / "nowhere"))
    with pytest.raises(ConfigError, match="heads of even width"):
        make(place, hidden=18, heads=4)
    with pytest.raises(ConfigError, match="did you mean budget"):
        resources.validate("donor", {"bugdet": 3})
    with pytest.raises(DataError, match="less than one sequence"):
        make(place, budget=100)
    (place / "train" / "dev.jsonl").unlink()
    with pytest.raises(DataError, match=r"dev\.jsonl does not exist"):
        make(place)
    assert not (place / "donor").exists()


def test_damaged_tables_are_refused(place: Path) -> None:
    folder = make(place)
    table = np.load(folder / "input.npy")
    size = len(table)
    with pytest.raises(ArtifactError, match=f"vocabulary of {size + 1}"):
        resources.RESOURCES.get("donor").load(folder, size + 1)
    table[3] = np.inf
    np.save(folder / "input.npy", table)
    with pytest.raises(ArtifactError, match="NaN or Inf"):
        resources.RESOURCES.get("donor").load(folder, size)
