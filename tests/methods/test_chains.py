"""Chains: parsing, parameters, checks of what a part returns."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import toys
import toytasks
from tokgraft import methods
from tokgraft.errors import ConfigError, ModelError
from tokgraft.methods import METHODS, REFINERS, Params, Rows, Transplant, refiner
from tokgraft.rows.composition import compose


@pytest.fixture
def shift() -> Iterator[type[Params]]:
    """A refiner that adds a number to every row."""
    REFINERS.names()
    before = dict(REFINERS._things)

    class Shift(Params):
        """Add a number."""

        by: float = 1.0

    refiner("shift", Shift, version=3, requires={"token_vectors"}, untied=False)(refine)
    yield Shift
    REFINERS._things.clear()
    REFINERS._things.update(before)


def refine(task: Transplant, rows: Rows, params: Any) -> Rows:
    """What the refiner of the fixture does."""
    return replace(rows, input=rows.input + np.float32(params.by), stats={**rows.stats, "shifted": params.by})


def task(tied: bool = True) -> Transplant:
    return toytasks.task("focus", toys.tokenizer("byte_level"), toys.tokenizer("sp_bpe", 600, "both"), tied=tied)


@pytest.mark.usefixtures("shift")
def test_refiners_follow_the_initialiser() -> None:
    plain, shifted = (methods.apply(chain, task(), {}) for chain in ("mean", "mean+shift"))
    assert np.allclose(shifted.input, plain.input + 1)
    assert shifted.stats["shifted"] == 1.0 and "pieces_per_token" in shifted.stats
    further = methods.apply("mean+shift", task(), {"shift": {"by": 2.5}})
    assert np.allclose(further.input, plain.input + 2.5)
    assert methods.parse("mean+shift").requires == {"token_vectors"}
    assert methods.parse("mean+shift", {}).settings == {"mean": {}, "shift": {"by": 1.0}}
    assert [part.version for part in methods.parse("mean+shift").parts] == [1, 3]


@pytest.mark.usefixtures("shift")
@pytest.mark.parametrize(
    ("chain", "params", "message"),
    [
        ("focs", {}, "did you mean focus"),
        ("mean+shft", {}, "did you mean shift"),
        ("shift", {}, "needs an initialiser"),
        ("mean+focus", {}, "is an initialiser"),
        ("mean+shift+shift", {}, "twice"),
        ("mean+shift", {"by": 2}, "under the part"),
        ("mean+shift", {"shift": {"bye": 2}}, "did you mean by"),
        ("multivariate", {"eps": -1}, "eps"),
        ("multivariate", {"epsilon": 1}, "docs/methods/multivariate.md"),
    ],
)
def test_bad_chains_are_explained(chain: str, params: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        methods.parse(chain, params)


@pytest.mark.usefixtures("shift")
def test_support_and_resources_are_checked() -> None:
    with pytest.raises(ModelError, match="shift cannot treat a model with two tables"):
        methods.apply("mean+shift", task(tied=False), {})
    with pytest.raises(ConfigError, match="requires the resource token_vectors"):
        methods.apply("focus", replace(task(), resources={}), {})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input": np.zeros((3, 24), np.float32)}, "returned input rows"),
        ({"input": "nan"}, "NaN or Inf"),
        ({"input": "double"}, "float64"),
        ({"output": np.zeros((3, 24), np.float32)}, "expected none"),
        ({"provenance": ()}, "provenance for 0"),
    ],
)
def test_unusable_rows_are_refused(monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], message: str) -> None:
    entry = METHODS.get("mean")

    def broken(given: Transplant, params: Params) -> Rows:
        rows = compose(given, entry.run(given, params), "mean")
        if change.get("input") is not None and isinstance(change["input"], str):
            table = rows.input.copy().astype(np.float64 if change["input"] == "double" else np.float32)
            table[5] = np.nan if change["input"] == "nan" else table[5]
            return replace(rows, input=table)
        return replace(rows, **change)

    monkeypatch.setitem(METHODS._things, "mean", replace(entry, run=broken))
    with pytest.raises(ModelError, match=message):
        methods.apply("mean", task(), {})


def test_none_refuses_another_tokenizer() -> None:
    with pytest.raises(ConfigError, match="keeps the original tokenizer"):
        methods.apply("none", task(), {})


def test_streams_of_random_numbers_are_independent_and_repeatable() -> None:
    one, two = task(), replace(task(), seed=1)
    assert one.rng("a").random() == one.rng("a").random()
    assert len({one.rng("a").random(), one.rng("b").random(), two.rng("a").random()}) == 3


def test_the_registry_imports_nothing_heavy() -> None:
    script = (
        "import sys; from tokgraft import methods, resources; methods.parse('focus+prior', {}).settings; resources.validate('token_vectors', {});"
        "import tokgraft; print(sorted({'torch', 'transformers', 'tokenizers', 'datasets', 'scipy', 'fasttext'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.usefixtures("shift")
def test_only_a_declared_refiner_may_untie(monkeypatch: pytest.MonkeyPatch) -> None:
    def untying(given: Transplant, rows: Rows, params: Params) -> Rows:
        return replace(rows, output=rows.input.copy())

    monkeypatch.setitem(REFINERS._things, "shift", replace(REFINERS.get("shift"), run=untying))
    with pytest.raises(ModelError, match=r"shift returned output rows .* expected none"):
        methods.apply("mean+shift", task(), {})
    monkeypatch.setitem(REFINERS._things, "shift", replace(REFINERS.get("shift"), unties=True))
    assert methods.apply("mean+shift", task(), {}).output is not None
    back = replace(REFINERS.get("shift"), name="back", run=lambda given, rows, params: replace(rows, output=None))
    monkeypatch.setitem(REFINERS._things, "back", back)
    with pytest.raises(ModelError, match="back returned output rows none"):
        methods.apply("mean+shift+back", task(), {})
