"""Snakemake's own report carries ours, with the way from every number to its artifact."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import pytest

from tests.integration.conftest import SMOKE, Checkout, copy_run
from tokgraft import artifacts

pytestmark = pytest.mark.timeout(1200)


def test_snakemakes_report_holds_the_tables_and_their_provenance(finished: Checkout, tmp_path: Path) -> None:
    run = copy_run(finished, tmp_path / "run")
    run.snakemake("--report", "results/snakemake-report.html", *SMOKE)
    text = (run.root / "results/snakemake-report.html").read_text()
    embedded = {
        name: base64.b64decode(content)
        for name, content in re.findall(r'data:text/\w+;charset=utf8;filename=([\w.]+);base64,([^"]+)"', text)
    }
    for name in ("report.html", "leaderboard.csv", "differences.csv"):
        assert embedded[name] == (run.root / "results/experiments/smoke/tables" / name).read_bytes()
    page = embedded["report.html"].decode()
    provenance = json.loads((run.root / "results/experiments/smoke/tables/provenance.json").read_text())
    runs = {one["folder"]: one for one in json.loads((run.root / "results/experiments/smoke/tables/runs.json").read_text())["artifacts"]}
    for one in provenance["artifacts"]:
        folder = run.root / one["folder"]
        assert artifacts.fingerprint(folder) == one["manifest"] and not artifacts.verify(folder)
        assert f'title="{one["manifest"]}"' in page and runs[one["folder"]]["command"] and one["versions"]["tokgraft"]
