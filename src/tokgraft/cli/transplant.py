"""`tokgraft transplant`: put a new tokenizer into a model."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tokgraft import skipping

HELP = "put a new tokenizer into a model: make its rows by a method and write a complete model folder"
EXAMPLES = """  tokgraft transplant --model BASE --tokenizer TOKENIZER --method mean --out ADAPTED
  tokgraft transplant --model BASE --tokenizer TOKENIZER --method multivariate --set eps=1e-9 --seed 1 --out ADAPTED
  tokgraft transplant --model BASE --tokenizer TOKENIZER --method focus --resource token_vectors=VECTORS --out ADAPTED
  tokgraft transplant --model BASE --tokenizer TOKENIZER --method omp --resource donor=DONOR --corpus CORPUS --out ADAPTED
  tokgraft list methods
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument("--model", type=Path, required=True, metavar="DIR", help="base model with its tokenizer")
    parser.add_argument("--tokenizer", type=Path, metavar="DIR", help="new tokenizer (default: the base's own, for the method none)")
    parser.add_argument("--method", required=True, metavar="CHAIN", help="a method, or method+refiner+... (see: tokgraft list methods)")
    parser.add_argument("--settings", default="{}", metavar="JSON", help="parameters as JSON text or file; in a chain: part -> parameters")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="sets", help="one parameter; in a chain: PART.KEY=VALUE"
    )
    parser.add_argument("--resource", action="append", default=[], metavar="NAME=DIR", help="folder of a resource that the method requires")
    parser.add_argument(
        "--corpus",
        type=Path,
        metavar="DIR",
        help="corpus of the language: see on its dev text which tokens the adapted model predicts most",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random (default: 0)")
    parser.add_argument("--pad-to-multiple", type=int, metavar="N", help="round the rows up to a multiple of N (default: no padded rows)")
    parser.add_argument("--trust-remote-code", action="store_true", help="run Python code that the model folder brings")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    skipping.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Transplant."""
    from tokgraft import logs, transplant

    params = parameters(args.settings, args.sets)
    resources = dict(_pair(text, "--resource", "NAME=DIR") for text in args.resource)
    logs.opening({"method": args.method, "params": params, "resources": resources, "seed": args.seed})
    transplant.run(
        model=args.model, tokenizer=args.tokenizer, method=args.method, out=args.out, params=params, resources=resources, seed=args.seed,
        pad_to_multiple=args.pad_to_multiple, trust_remote_code=args.trust_remote_code, corpus=args.corpus,
    )  # fmt: skip
    return 0


def parameters(settings: str, sets: list[str]) -> dict[str, Any]:
    """Parameters from JSON (text or file), overridden by `KEY=VALUE` or `PART.KEY=VALUE`, whose values are YAML scalars.

    Raises:
        ConfigError: The JSON or a pair cannot be read.
    """
    import json

    import yaml

    from tokgraft.errors import ConfigError

    try:
        text = settings if settings.lstrip().startswith("{") else Path(settings).read_text(encoding="utf-8")
        found: dict[str, Any] = json.loads(text)
    except (OSError, json.JSONDecodeError) as error:
        raise ConfigError(f"--settings {settings}: {error}", "give JSON text or a JSON file") from None
    for pair in sets:
        key, value = _pair(pair, "--set", "KEY=VALUE")
        *parents, last = key.split(".")
        place = found
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = _number(yaml.safe_load(value))
    return found


def _number(value: Any) -> Any:
    """YAML reads `1e-5` as text."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _pair(text: str, flag: str, form: str) -> tuple[str, str]:
    from tokgraft.errors import ConfigError

    key, separator, value = text.partition("=")
    if not separator or not key:
        raise ConfigError(f"{flag} {text!r} is not of the form {form}")
    return key, value
