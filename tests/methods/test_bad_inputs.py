"""Bad input: every registered method and refiner answers with usable rows, whose makeshifts are counted, or with an error that helps."""

from __future__ import annotations

import shutil
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

import toys
import toytasks
from tokenizers import AddedToken
from tokgraft import methods, resources
from tokgraft.errors import ConfigError, ModelError, TokgraftError
from tokgraft.methods import METHODS, REFINERS, Rows, Transplant
from tokgraft.overlap import shared_sources
from tokgraft.transplant._facts import facts
from tokgraft.vocab import Token, Vocabulary

CHANGING = [name for name in METHODS.names() if not METHODS.get(name).keeps_tokenizer]
CHAINS = CHANGING + [f"mean+{name}" for name in REFINERS.names()]
ALL = METHODS.names() + [f"mean+{name}" for name in REFINERS.names()]
NEEDY = [chain for chain in ALL if methods.parse(chain).requires]
NEEDING_BASE = [chain for chain in NEEDY if any("base" in resources.needs(name) for name in methods.parse(chain).requires)]
SHIFT = {number: chr(0x0430 + number - 97) for number in range(97, 123)} | {number: chr(0x0410 + number - 65) for number in range(65, 91)}


@lru_cache
def target() -> PreTrainedTokenizerFast:
    """Byte-level BPE in which some texts stand twice, and a special token without a role."""
    return doubled(toys._byte_level(toys.english()[:1200] + toys.german(), 600), "Ġ")


def doubled(tokenizer: PreTrainedTokenizerFast, marker: str) -> PreTrainedTokenizerFast:
    """The tokenizer with five of its tokens once more: one that is added is literal text, " the" the same bytes as "Ġthe"."""
    words = sorted(text for text in tokenizer.get_vocab() if text.startswith(marker) and text[1:].isalpha() and len(text) > 3)[:5]
    assert tokenizer.add_tokens([AddedToken(" " + text[1:], normalized=False) for text in words]) == 5
    return tokenizer


@lru_cache
def source(kind: str) -> PreTrainedTokenizerFast:
    """One of "plain"; "double": some texts stand twice; "disjoint": shares no token and writes none; "few": shares three tokens."""
    if kind in ("plain", "double"):
        tokenizer = toys._sp_bpe(toys.english(), 800)
        return doubled(tokenizer, "▁") if kind == "double" else tokenizer
    words = tuple(
        " ".join("".join(c for c in word if c.isascii() and c.isalpha()) for word in line.split()) for line in toys.english()[:800]
    )
    tokenizer = toys._wordpiece(tuple(line.translate(SHIFT) for line in words), 500)
    if kind == "few":
        tokenizer.add_tokens([text for text in sorted(target().get_added_vocab()) if text.startswith(" ")][:3])
    return tokenizer


def transplant(chain: str, kind: str = "plain", **more: Any) -> Transplant:
    tied = all(part.tied for part in methods.parse(chain).parts)
    old = source(kind)
    return toytasks.task(
        chain, old, old if chain in METHODS.names() and METHODS.get(chain).keeps_tokenizer else target(), tied=tied, **more
    )


def outcome(chain: str, given: Transplant) -> Rows | None:
    """The rows, checked, or None where an error said what to do; a warning of numpy counts as a defect."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            rows = methods.apply(chain, given, {})
        except TokgraftError as error:
            explained(error)
            return None
    for table in (rows.input, rows.output, rows.bias):
        assert table is None or np.isfinite(table).all()
    assert len(rows.provenance) == len(rows.input) == len(given.target)
    counted = facts(chain, given, rows, len(rows.input))["how"]
    assert counted == dict(Counter(way.how for way in rows.provenance))
    means = [table[given.live].mean(axis=0, dtype=np.float64).astype(np.float32) for table in (given.E, given.U)]
    if chain in METHODS.names():
        for number in given.target.ids:
            way = rows.provenance[number]
            makeshift = np.array_equal(rows.input[number], means[0])
            assert not makeshift or way.how == "fallback" or given.E[given.live].std() == 0, f"{given.target[number]}: {way}"
    return rows


def explained(error: TokgraftError) -> None:
    assert len(error.what.split()) > 3 and len(error.do.split()) > 2, error
    assert "defect" not in str(error) and "report" not in str(error), f"blames the program for a bad input: {error}"


def attempt(chain: str, kind: str, **more: Any) -> tuple[Transplant, Rows] | None:
    """A transplant from that source, resources made for it, where that is possible."""
    try:
        given = transplant(chain, kind, **more)
    except TokgraftError as error:
        explained(error)
        return None
    rows = outcome(chain, given)
    return None if rows is None else (given, rows)


@pytest.mark.parametrize("chain", CHAINS)
def test_disjoint_vocabularies(chain: str) -> None:
    if (found := attempt(chain, "disjoint", bias=True)) is None:
        return
    given, rows = found
    assert not set(given.overlap) & set(given.target.text_ids) and not any(given.pieces.values())
    for number in given.target.text_ids:
        assert rows.provenance[number].how != "copied"


@pytest.mark.parametrize("chain", CHAINS)
def test_fewer_shared_tokens_than_a_method_wants(chain: str) -> None:
    if (found := attempt(chain, "few")) is not None:
        given, rows = found
        shared = [number for number in given.overlap if given.target[number].kind != "special"]
        assert len(shared) == 6, "three texts, each twice"
        assert len(rows.input) > 500


@pytest.mark.parametrize("chain", CHAINS)
def test_tokens_that_stand_twice(chain: str) -> None:
    found = attempt(chain, "double")
    assert found is not None, "duplicates are no reason to give up"
    given, rows = found
    texts = Counter(given.target[number].text for number in given.target.text_ids)
    assert any(count > 1 for count in texts.values())
    twice = Counter(given.source[number].text for number in given.source.text_ids)
    assert any(count > 1 for count in twice.values())
    if METHODS.get(chain.split("+")[0]).copies_overlap and chain in METHODS.names():
        standing_in = shared_sources(given.overlap, given.source, given.target)  # see test_stand_ins.py
        alike = 0
        for number, match in given.overlap.items():
            assert number in standing_in or np.array_equal(rows.input[number], given.E[match.source])
            same = [other for other in given.target.text_ids if given.target[other].text == given.target[number].text]
            # Where the source has the text twice, too, each takes the one that is written like it, and they may differ.
            if given.target[number].kind != "special" and twice[given.target[number].text] < 2:
                assert len({rows.input[other].tobytes() for other in same}) == 1
                alike += len(same) > 1
        assert alike


@pytest.mark.parametrize("chain", CHAINS)
def test_special_token_without_a_counterpart(chain: str) -> None:
    found = attempt(chain, "plain", bias=True)
    assert found is not None
    given, rows = found
    alone = [number for number in given.target.special_ids if number not in given.overlap]
    assert [given.target[number].shown for number in alone] == ["<|tool|>"]
    donor = given.resources.get("donor")  # it may know the token, and then there is something to make a row from
    assert rows.provenance[alone[0]].how in ("fallback", "random") or (donor is not None and donor.E[alone].any())


@pytest.mark.parametrize("chain", ALL)
def test_rows_of_zeros(chain: str) -> None:
    given = transplant(chain)
    blank = np.zeros_like(given.E)
    outcome(chain, replace(given, E=blank, U=blank if given.tied else blank.copy()))
    some = given.E.copy()
    some[::2] = 0
    outcome(chain, replace(given, E=some, U=some if given.tied else given.U))


@pytest.mark.parametrize("chain", ALL)
def test_source_table_with_nan_is_refused(chain: str) -> None:
    given = transplant(chain, bias=True)
    number = given.source.text_ids[7]
    for value in (np.nan, np.inf):
        bad = given.E.copy()
        bad[number, 3] = value
        with pytest.raises(ModelError, match=rf"input table .* NaN or Inf in 1 row.*{number}") as error:
            methods.apply(chain, replace(given, E=bad, U=bad if given.tied else given.U), {})
        explained(error.value)
    assert given.bias is not None
    bias = given.bias.copy()
    bias[number] = np.nan
    with pytest.raises(ModelError, match=rf"bias .* NaN or Inf in 1 row.*{number}"):
        methods.apply(chain, replace(given, bias=bias), {})


@pytest.mark.parametrize("chain", [chain for chain in ALL if all(part.untied for part in methods.parse(chain).parts)])
def test_output_table_with_nan_is_refused(chain: str) -> None:
    old = source("plain")
    given = toytasks.task(chain, old, old if chain == "none" else target(), tied=False)
    bad = given.U.copy()
    bad[5, 0] = np.nan
    with pytest.raises(ModelError, match=r"output table .* NaN or Inf in 1 row.*5"):
        methods.apply(chain, replace(given, U=bad), {})


@pytest.mark.parametrize("chain", CHAINS)
def test_nan_in_rows_that_no_token_has_does_not_spread(chain: str) -> None:
    given = transplant(chain)
    holes = Vocabulary((*given.source.tokens, None, Token(b"<|far|>", "special", (), "<|far|>")), given.source.scheme)
    results = []
    for value in (0.0, np.nan):
        padding = np.full((2, given.E.shape[1]), 0.5, dtype=np.float32)
        padding[0] = value
        E = np.concatenate([given.E, padding])
        rows = outcome(chain, replace(given, source=holes, E=E, U=E if given.tied else np.concatenate([given.U, padding])))
        assert rows is not None
        results.append(rows.input)
    assert np.array_equal(*results)


@pytest.mark.parametrize("chain", ALL)
def test_table_of_another_size_is_refused(chain: str) -> None:
    given = transplant(chain)
    for E in (given.E[:-1], np.concatenate([given.E, given.E[:3]]), given.E.astype(np.float64), given.E[:, 0]):
        with pytest.raises(ModelError, match="input table") as error:
            methods.apply(chain, replace(given, E=E, U=E if given.tied else given.U), {})
        explained(error.value)


@pytest.mark.parametrize("chain", ALL)
def test_transplant_without_tokenizers_or_model(chain: str) -> None:
    given = transplant(chain)
    outcome(chain, replace(given, segmenter=None))
    outcome(chain, replace(given, load_target_segmenter=None))
    outcome(chain, replace(given, load_model=None, states=None))
    for name in methods.parse(chain).requires:
        with pytest.raises(ConfigError, match=f"requires the resource {name}") as error:
            methods.apply(chain, replace(given, resources={key: value for key, value in given.resources.items() if key != name}), {})
        explained(error.value)


@pytest.mark.parametrize("chain", NEEDY)
def test_resource_of_another_tokenizer_is_refused(chain: str) -> None:
    """A donor that does not own the tokenizer, vectors and counts of other tokens."""
    folders = toytasks.made(methods.parse(chain).requires, target(), source("plain"))
    other = Vocabulary.from_tokenizer(toys.tokenizer("sp_bpe", 600, "both"))
    for name, folder in folders.items():
        if "tokenizer" in resources.needs(name):
            with pytest.raises(ConfigError, match="was made for another tokenizer") as error:
                resources.load(name, folder, len(other), other.fingerprint)
            explained(error.value)


@pytest.mark.parametrize("chain", NEEDING_BASE)
def test_resource_of_another_base_is_refused(chain: str) -> None:
    given = transplant(chain)
    old = Vocabulary.from_tokenizer(toys.tokenizer("byte_level"))
    table = toytasks.table(len(old))
    other = toytasks.task("mean", toys.tokenizer("byte_level"), target(), E=table)
    with pytest.raises(ConfigError, match="made for") as error:
        methods.apply(chain, replace(other, resources=given.resources), {})
    explained(error.value)


def damaged(chain: str, place: Path, how: str) -> Mapping[str, Path]:
    """Copies of a chain's resources in which every file, or every array of numbers, is damaged."""
    found = {}
    for name, folder in toytasks.made(methods.parse(chain).requires, target(), source("plain")).items():
        found[name] = place / name
        shutil.copytree(folder, place / name)
        for path in sorted((place / name).iterdir()):
            if path.name in ("manifest.json", "run.json"):
                continue
            if how == "cut":
                path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            elif how == "lost":
                path.unlink()
            elif path.suffix in (".npy", ".npz"):
                _alter(path, how)
    return found


def _alter(path: Path, how: str) -> None:
    loaded = np.load(path)
    arrays = {"": loaded} if path.suffix == ".npy" else dict(loaded)
    changed = {}
    for name, array in arrays.items():
        if how == "short":
            array = array[: len(array) // 2]
        elif how == "negative":
            array = array - array.max() - 2 if array.dtype.kind == "i" else array
        elif how == "far":
            array = array + 10**6 if array.dtype.kind == "i" else array
        elif array.dtype.kind == "f":
            array = np.full_like(array, {"zero": 0, "nan": np.nan}[how])
        changed[name] = array
    if path.suffix == ".npy":
        np.save(path, changed[""])
    else:
        np.savez(path, **changed)


@pytest.mark.parametrize("how", ["nan", "zero", "short", "negative", "far", "cut", "lost"])
@pytest.mark.parametrize("chain", NEEDY)
def test_damaged_resources(chain: str, how: str, tmp_path: Path) -> None:
    given, folders = transplant(chain), damaged(chain, tmp_path, how)
    loaded = {}
    for name, folder in folders.items():
        if how in ("cut", "lost") or (how == "nan" and _has_floats(folder)):
            with pytest.raises(TokgraftError) as error:
                resources.load(name, folder, len(given.target), given.target.fingerprint)
            explained(error.value)
            assert name in str(error.value), "says where"
            continue
        try:
            loaded[name] = resources.load(name, folder, len(given.target), given.target.fingerprint)
        except TokgraftError as error:
            explained(error)
    if loaded.keys() == given.resources.keys():
        rows = outcome(chain, replace(given, resources=loaded))
        if how == "zero" and rows is not None and chain in METHODS.names():
            assert any(way.how in ("fallback", "random") for way in rows.provenance) or not any(map(_has_floats, folders.values()))


def _has_floats(folder: Path) -> bool:
    return any(path.suffix == ".npy" and np.load(path, mmap_mode="r").dtype.kind == "f" for path in folder.iterdir())
