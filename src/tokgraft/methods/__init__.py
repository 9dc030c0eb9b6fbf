"""Ways of making the rows of a new vocabulary: one module each, found by the registry."""

from tokgraft.methods._chain import Chain, apply, check_support, modules, parse, requirements, runs_model, settings, validate
from tokgraft.methods._contract import METHODS, REFINERS, Floats, Params, Provenance, Registered, Rows, States, Transplant, method, refiner

__all__ = [
    "METHODS", "REFINERS", "Chain", "Floats", "Params", "Provenance", "Registered", "Rows", "States", "Transplant", "apply", "check_support", "method",
    "modules", "parse", "refiner", "requirements", "runs_model", "settings", "validate",
]  # fmt: skip
