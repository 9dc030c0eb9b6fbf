"""Transplants with a made-up donor: random tables, so that tests of methods that need one take no training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from transformers import PreTrainedTokenizerFast

import toys
from tokgraft.methods import Floats, Transplant
from tokgraft.rows.donor import Donor
from tokgraft.segmenter import Segmenter
from tokgraft.vocab import Vocabulary


def rows(count: int, width: int, seed: int) -> Floats:
    """A table whose rows share a direction and differ in length, as those of real models do."""
    rng = np.random.default_rng(seed)
    common, lengths = rng.normal(0, 0.5, width), np.exp(rng.normal(0, 0.3, (count, 1)))
    return ((rng.normal(0, 1, (count, width)) + common) * lengths * 0.1).astype(np.float32)


def task(
    source: PreTrainedTokenizerFast | None = None, target: PreTrainedTokenizerFast | None = None, *, width: int = 24, donor_width: int = 40,
    tied: bool = True, donor_tied: bool = True, seed: int = 0,
) -> Transplant:  # fmt: skip
    """A transplant between byte-level vocabularies (or those given), whose donor has random rows."""
    source = source or toys.tokenizer("byte_level")
    target = target or toys.tokenizer("byte_level", 1200, "both")
    old, new = Vocabulary.from_tokenizer(source), Vocabulary.from_tokenizer(target)
    E, theirs = rows(len(old), width, seed), rows(len(new), donor_width, seed + 1)
    donor = Donor(theirs, theirs if donor_tied else rows(len(new), donor_width, seed + 2))
    U = E if tied else rows(len(old), width, seed + 3)
    return Transplant(old, new, E, U, segmenter=Segmenter(source, old), resources={"donor": donor})


def with_donor(given: Transplant, E: Floats, U: Floats | None = None) -> Transplant:
    """The same transplant with another donor."""
    return replace(given, resources={"donor": Donor(E, E if U is None else U)})


def made(given: Transplant) -> tuple[list[int], list[int]]:
    """Target ids of anchors and of new tokens, in canonical order."""
    order = given.target.canonical_order
    return [n for n in order if n in given.overlap], [n for n in order if n not in given.overlap]
