"""Laws that every registered refiner obeys after an initialiser; a new refiner is tested here without a change of this file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import toys
import toytasks
from tokgraft import methods
from tokgraft.methods import REFINERS, Rows, Transplant
from tokgraft.vocab import Token, Vocabulary

NAMES = REFINERS.names()
HEADS = [name for name in NAMES if REFINERS.get(name).unties]
UNTIE = [(name, True) for name in HEADS] + [(name, False) for name in NAMES]


def task(chain: str, tied: bool = True, kind: str = "sp_bpe", **more: object) -> Transplant:
    source, target = toys.tokenizer("byte_level"), toys.tokenizer(kind, 600, "both")
    return toytasks.task(chain, source, source if chain.startswith("none") else target, tied=tied, **more)  # type: ignore[arg-type]


def settings(name: str, untie: bool) -> dict[str, dict[str, bool]]:
    return {name: {"untie": untie}} if name in HEADS else {}


def refined(name: str, given: Transplant, first: str = "mean", untie: bool = False) -> tuple[Rows, Rows]:
    """Rows before and after the refiner."""
    return methods.apply(first, given, {}), methods.apply(f"{first}+{name}", given, settings(name, untie))


@pytest.mark.parametrize("kind", ["sp_bpe", "byte_level"])
@pytest.mark.parametrize(("name", "untie"), UNTIE)
@pytest.mark.parametrize("first", ["mean", "none"])
@pytest.mark.parametrize("tied", [True, False])
def test_what_a_refiner_may_change(name: str, untie: bool, first: str, tied: bool, kind: str) -> None:
    given = task(f"{first}+{name}", tied, kind)
    copies = given.E.copy(), given.U.copy()
    before, after = refined(name, given, first, untie)  # checks shapes, dtype, finiteness and the tie
    assert np.array_equal(given.E, copies[0]) and np.array_equal(given.U, copies[1]), "inputs are read-only"
    assert after.provenance == before.provenance
    assert (after.output is None) == (tied and not untie)
    special = list(given.target.special_ids)
    assert special and np.array_equal(after.input[special], before.input[special])
    if name in HEADS and (untie or not tied):
        assert np.array_equal(after.input, before.input), "an untied head leaves the input rows alone"
        assert after.output is not None and not np.array_equal(after.output, before.input if before.output is None else before.output)
    assert set(after.stats) > set(before.stats)


@pytest.mark.parametrize(("name", "untie"), UNTIE)
def test_permutation_of_ids_permutes_rows(name: str, untie: bool) -> None:
    source, target = toys.tokenizer("byte_level"), toys.tokenizer("byte_level", 600, "both")
    shuffled, order = toys.permuted(target)
    chain = f"mean+{name}"
    straight = methods.apply(chain, toytasks.task(chain, source, target), settings(name, untie))
    crooked = methods.apply(chain, toytasks.task(chain, source, shuffled), settings(name, untie))
    assert np.allclose(crooked.input, straight.input[order], rtol=1e-4, atol=1e-5)
    if straight.output is not None and crooked.output is not None:
        assert np.allclose(crooked.output, straight.output[order], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "untie"), UNTIE)
def test_same_call_same_bytes(name: str, untie: bool) -> None:
    digests = {toytasks.digest(refined(name, task(f"mean+{name}"), untie=untie)[1]) for _ in range(2)}
    assert len(digests) == 1


@pytest.mark.parametrize(("name", "untie"), UNTIE)
def test_ids_without_a_token_do_not_count(name: str, untie: bool) -> None:
    results = []
    for value in (0.0, 1e4):
        given = task(f"mean+{name}")
        holes = Vocabulary((*given.source.tokens, None, None, Token(b"<|far|>", "special", (), "<|far|>")), given.source.scheme)
        padding = np.full((3, given.E.shape[1]), value, dtype=np.float32)
        padding[2] = 0.5
        E = np.concatenate([given.E, padding])
        after = methods.apply(f"mean+{name}", replace(given, source=holes, E=E, U=E), settings(name, untie))
        results.append(after.input if after.output is None else after.output)
    assert np.array_equal(*results)


def test_a_chain_stays_untied_and_shares_states() -> None:
    given = task("mean+prior+readout+clip")
    calls: list[int] = []
    read = given.states

    def counting(rows: Rows, documents: object) -> methods.Floats:
        calls.append(len(documents))  # type: ignore[arg-type]
        return read(rows, documents)  # type: ignore[arg-type, misc]

    given = replace(given, states=counting)
    rows = methods.apply("mean+prior+readout+clip", given, {"prior": {"untie": True}})
    assert rows.output is not None and len(calls) == 3
    assert set(rows.stats) >= {"prior", "readout", "clip"}
