"""What is written about the processor that made an artifact."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tokgraft import artifacts
from tokgraft.processor import processor

X86 = """processor\t: 0
vendor_id\t: GenuineIntel
model name\t: Some Xeon
flags\t\t: fpu sse2 fma avx2 avx512f amx_bf16 amx_tile xtopology

processor\t: 1
model name\t: Another
flags\t\t: fpu
"""
ARM = "processor\t: 0\nFeatures\t: fp asimd sve i8mm\nCPU implementer\t: 0x41\n"


@pytest.mark.parametrize(
    ("text", "instructions"),
    [(X86, ["avx2", "fma", "avx512f", "amx_tile", "amx_bf16"]), (ARM, ["asimd", "sve", "i8mm"]), ("", [])],
)
def test_instructions_that_matter_are_named(tmp_path: Path, text: str, instructions: list[str]) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    found = processor(tmp_path / "cpuinfo")
    assert found["instructions"] == instructions
    assert found["model"] == "Some Xeon" if text == X86 else found["model"]
    assert found["cores"] >= found["usable_cores"] >= 1


def test_a_machine_without_the_file(tmp_path: Path) -> None:
    assert processor(tmp_path / "nowhere")["instructions"] == []


def test_torch_is_told_of_only_where_it_is_loaded() -> None:
    code = "{}from tokgraft.processor import processor; import json; print(json.dumps(processor()))"
    without, loaded = (
        json.loads(subprocess.run([sys.executable, "-c", code.format(first)], capture_output=True, text=True, check=True).stdout)
        for first in ("", "import torch; torch.set_num_threads(1); ")
    )
    assert "torch" not in without
    assert loaded["torch"] and loaded["threads"] == 1


def test_every_artifact_names_its_processor(tmp_path: Path) -> None:
    with artifacts.create(tmp_path / "a", "toy", {}) as folder:
        (folder / "file").write_text("x")
    run = json.loads((tmp_path / "a" / artifacts.RUN).read_text())
    assert run["processor"]["model"] and run["processor"]["cores"] >= 1
    assert "processor" not in artifacts.read(tmp_path / "a")
