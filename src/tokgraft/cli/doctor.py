"""`tokgraft doctor`: what this machine lacks for an experiment, and how to get it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from tokgraft.cli import _arguments as arguments

if TYPE_CHECKING:
    from tokgraft.matrix import Matrix

HELP = "say what is missing on this machine for an experiment, and how to get it"
EXAMPLES = """  tokgraft doctor
  tokgraft doctor --settings config/experiments/smoke.yaml
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument("--settings", type=arguments.text, default="config/config.yaml", help="experiment as YAML file, slug or JSON text")
    parser.add_argument("--config", type=arguments.folder, default=Path("config"), help="the config folder (default: config)")
    parser.add_argument("--brief", action="store_true", help="print only what is wrong")


def run(args: argparse.Namespace) -> int:
    """Print one line a check; 1 when the experiment cannot run here."""
    from tokgraft.matrix import load_matrix

    return show(load_matrix(args.settings, args.config), args.brief)


def show(matrix: Matrix, brief: bool) -> int:
    """Print what was found, only what is wrong where `brief`; 1 when the experiment cannot run here."""
    from tokgraft.preflight import examine

    findings = examine(matrix)
    for finding in findings:
        if finding.level == "ok" and brief:
            continue
        print(f"{finding.level:7} {finding.what}" + (f"\n        -> {finding.do}" if finding.do else ""))
    broken = [finding for finding in findings if finding.level == "missing"]
    if not brief:
        print(f"{len(findings)} checks, {len(broken)} missing")
    return 1 if broken else 0
