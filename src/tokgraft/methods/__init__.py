"""Ways of making the rows of a new vocabulary: one module each, found by the registry. Their authors find here what they need."""

from tokgraft.numerics.types import Doubles, Flags, Floats, Ints
from tokgraft.rows.chain import Chain, apply, check_support, parse
from tokgraft.rows.composition import Composition, Dense, draw_normal
from tokgraft.rows.contract import How, Params, Provenance, Rows, States, Transplant, given
from tokgraft.rows.mixtures import Mixtures
from tokgraft.rows.registration import METHODS, REFINERS, RegisteredMethod, method, refiner

__all__ = [
    "METHODS",
    "REFINERS",
    "Chain",
    "Composition",
    "Dense",
    "Doubles",
    "Flags",
    "Floats",
    "How",
    "Ints",
    "Mixtures",
    "Params",
    "Provenance",
    "RegisteredMethod",
    "Rows",
    "States",
    "Transplant",
    "apply",
    "check_support",
    "draw_normal",
    "given",
    "method",
    "parse",
    "refiner",
]
