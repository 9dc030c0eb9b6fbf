"""The worked example of docs/adding-a-method.md: one new file, and everything else follows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys
import pytest
import tokgraft.methods
tokgraft.methods.__path__.append(sys.argv[1])
from tokgraft import methods
assert {"length_mean", "mean"} <= set(methods.METHODS.names()) and "rescale" in methods.REFINERS.names()
assert methods.parse("length_mean+rescale").requires == set()
assert methods.parse("length_mean+rescale").modules == ["tokgraft.methods.length_mean", "tokgraft.methods.rescale"]
import numpy as np, toys, toytasks
task = toytasks.task("mean", toys.tokenizer("byte_level"), toys.tokenizer("sp_bpe", 600, "both"), tied=False)
plain = methods.apply("mean", task, {})
assert np.allclose(plain.input, methods.apply("length_mean", task, {"power": 0}).input, atol=1e-6)
assert not np.allclose(plain.input, methods.apply("length_mean", task, {}).input, atol=1e-2)
long = methods.apply("length_mean+rescale", task, {"length_mean": {"power": 2}})
made = [number for number, way in enumerate(long.provenance) if way.how == "combined"]
assert np.allclose(np.linalg.norm(long.output[made], axis=1), np.linalg.norm(task.U, axis=1).mean(), rtol=1e-4)
none = methods.apply("none+rescale", toytasks.task("none", toys.tokenizer("byte_level"), toys.tokenizer("byte_level")), {})
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "-k", "length_mean", sys.argv[2]]))
"""


def test_the_example_works_and_obeys_the_laws(tmp_path: Path) -> None:
    guide = (ROOT / "docs" / "adding-a-method.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", guide, flags=re.S)
    assert len(blocks) == 2
    for name, block in zip(("length_mean", "rescale"), blocks):
        (tmp_path / f"{name}.py").write_text(block, encoding="utf-8")
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), str(ROOT / "tests" / "methods" / "test_laws.py")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT / "tests")})
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert re.search(r"^\.{15,}", done.stdout, flags=re.MULTILINE), done.stdout
