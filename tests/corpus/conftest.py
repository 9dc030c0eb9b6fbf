from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from help_material import build_package, sha256, write_help, write_pins

VERSION = "4:1.0-1"


@pytest.fixture(scope="session")
def help_cache(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A cache with an English and a German help package of 120 pages, and the table that pins them."""
    if not shutil.which("dpkg-deb"):
        pytest.skip("needs dpkg-deb")
    root = tmp_path_factory.mktemp("help")
    cache = root / "cache"
    cache.mkdir()
    pins = {}
    for name, code, language in (("libreoffice-help-en-us", "en-US", "en"), ("libreoffice-help-de", "de", "de")):
        write_help(root / name, code, language, 120)
        pins[name, VERSION] = sha256(build_package(cache, name, VERSION, root / name))
    return cache, write_pins(root / "sources.csv", pins)
