"""The wheel holds what the package reads, and works from any folder in an environment that has only what its core declares."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

import tokgraft
import wheels

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wheels.build(tmp_path_factory.mktemp("wheel"))


def test_the_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    source = wheels.ROOT / "src"
    files = {path.relative_to(source).as_posix() for path in (source / "tokgraft").rglob("*") if path.is_file()}
    with zipfile.ZipFile(wheel) as packed:
        held = {name for name in packed.namelist() if ".dist-info/" not in name}
    assert held == {name for name in files if "__pycache__" not in name}
    assert wheel.name.startswith(f"tokgraft-{tokgraft.__version__}-py3-none-any")


def test_the_core_alone_transplants_from_another_folder(wheel: Path, tmp_path: Path) -> None:
    environment = wheels.bare(wheel, tmp_path / "environment")
    alone = wheels.run([environment.python, "-c", "import lm_eval"], tmp_path)
    assert alone.returncode != 0, "the environment is not bare"
    wheels.check(environment, tmp_path)
