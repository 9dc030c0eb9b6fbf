"""`tokgraft list`: what is in the box, and the cells of an experiment."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path

from tokgraft.cli import _arguments as arguments

HELP = "list methods, languages, models, tokenizers, recipes, tasks, experiments, resources, or the cells or results of an experiment"
EXAMPLES = """  tokgraft list methods
  tokgraft list languages
  tokgraft list cells --settings config/experiments/smoke.yaml
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument("what", help="what to list", metavar="WHAT", choices=sorted(_LISTINGS))
    parser.add_argument(
        "--settings", type=arguments.text, default="config/config.yaml", help="experiment as YAML file, slug or JSON text (cells, results)"
    )
    parser.add_argument("--config", type=arguments.folder, default=Path("config"), help="the config folder (default: config)")


def run(args: argparse.Namespace) -> int:
    """Print the listing."""
    print(_LISTINGS[args.what](args))
    return 0


def _table(rows: Iterable[tuple[str, ...]]) -> str:
    lines = list(rows)
    widths = [max(len(row[column]) for row in lines) for column in range(len(lines[0]) - 1)]
    return "\n".join("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths)), row[-1]]) for row in lines)


def _methods(args: argparse.Namespace) -> str:
    from tokgraft.methods import METHODS, REFINERS

    rows = [("METHOD", "REQUIRES", "HEADS", "SOURCE", "WHAT IT DOES")]
    refiners = [(f"+{name}", refiner) for name, refiner in REFINERS.items()]
    for name, method in [*METHODS.items(), *refiners]:
        heads = "+".join(kind for kind, has in (("tied", method.tied), ("untied", method.untied)) if has)
        first = (method.params.__doc__ or "").strip().splitlines()[0]
        rows.append((name, ",".join(sorted(method.requires)) or "-", heads, method.paper or "-", first))
    return _table(rows)


def _resources(args: argparse.Namespace) -> str:
    from tokgraft.resources import RESOURCES

    return _table([("RESOURCE", "NEEDS"), *((name, ",".join(sorted(resource.needs))) for name, resource in RESOURCES.items())])


def _languages(args: argparse.Namespace) -> str:
    from tokgraft.config.base import slugs
    from tokgraft.config.language import Language

    rows = [("LANGUAGE", "NAME", "BCP-47", "SOURCES")]
    for slug in slugs("languages", args.config):
        language = Language.load(slug, args.config)
        rows.append((slug, language.name, language.bcp47, ", ".join(_source(source) for source in language.sources)))
    return _table(rows)


def _source(source: object) -> str:
    return " ".join(str(getattr(source, key)) for key in ("kind", "package", "id", "path") if hasattr(source, key))


def _described(folder: str) -> Callable[[argparse.Namespace], str]:
    def listing(args: argparse.Namespace) -> str:
        from tokgraft.config.base import read_yaml, slugs

        rows = [(folder.upper(), "DESCRIPTION")]
        for slug in slugs(folder, args.config):
            data = read_yaml(args.config / folder / f"{slug}.yaml")
            rows.append((slug, " ".join(str(data.get("description", data.get("name", ""))).split())))
        return _table(rows)

    return listing


def _cells(args: argparse.Namespace) -> str:
    import json

    from tokgraft.matrix import load_matrix
    from tokgraft.places import listing

    return json.dumps(listing(load_matrix(args.settings, args.config)), indent=1, sort_keys=True, ensure_ascii=False)


def _results(args: argparse.Namespace) -> str:
    from tokgraft.config import layout
    from tokgraft.config.experiment import Experiment

    tables = Path(layout.tables(Experiment.load(args.settings, args.config).name))
    found = {"Leaderboard": tables / "leaderboard.csv", "Report": tables / "report.html"}
    lines = [f"{name + ':':<12} {path}{'' if path.is_file() else ' (not made yet)'}" for name, path in found.items()]
    return "\n".join([*lines, f"{'MLflow:':<12} make ui"])


def _schema(args: argparse.Namespace) -> str:
    import json

    from tokgraft.config.schema import schema

    return json.dumps(schema(), indent=1, sort_keys=True, ensure_ascii=False)


def _configuration(args: argparse.Namespace) -> str:
    from tokgraft.config.schema import reference

    return reference()


_LISTINGS: dict[str, Callable[[argparse.Namespace], str]] = {
    "methods": _methods,
    "resources": _resources,
    "languages": _languages,
    "models": _described("models"),
    "tokenizers": _described("tokenizers"),
    "recipes": _described("recipes"),
    "tasks": _described("tasks"),
    "experiments": _described("experiments"),
    "cells": _cells,
    "results": _results,
    "schema": _schema,
    "configuration": _configuration,
}
