"""What goes wrong on real machines: full disks, killed jobs, flipped bits, two runs at once. Nothing finished is lost, nothing wrong is trusted."""

from __future__ import annotations

import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import SMOKE, Checkout, copy_run
from tests.workflow.conftest import cache, places
from tokgraft import artifacts

pytestmark = pytest.mark.timeout(1200)

AT, TOKENIZER = places("config/experiments/smoke.yaml"), ("pocket-smoke", "deu_Latn", "bpe2k")
STAGES = {
    "corpus": AT.corpus("deu_Latn"),
    "tokenizer": AT.tokenizer(*TOKENIZER),
    "resource": AT.resource("token_vectors", *TOKENIZER),
    "transplant": AT.adapted(*TOKENIZER, "mean", 0, "init"),
    "train": AT.adapted(*TOKENIZER, "mean", 0, "smoke"),
    "score": AT.scores(*TOKENIZER, "mean", 0, "smoke"),
}


@pytest.fixture(params=STAGES)
def stage(request: pytest.FixtureRequest, finished: Checkout) -> tuple[list[str], Path]:
    """The command that made an artifact of the finished run, without its --out, and the artifact's folder."""
    folder = finished.root / STAGES[request.param]
    words = shlex.split(json.loads((folder / artifacts.RUN).read_text())["command"])
    at = words.index("--out")
    return [sys.executable, "-m", "tokgraft", *words[1:at], *words[at + 2 :]], folder


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def environment(project: Checkout) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(project.root / "src"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "TOKGRAFT_CACHE": str(cache()),
    }


def test_a_full_disk(finished: Checkout, stage: tuple[list[str], Path], disk: Path) -> None:
    command, reference = stage
    ballast = disk / "ballast"
    ballast.write_bytes(b"0" * 44_000)
    out = disk / "deep" / "out"
    done = finished.run(*command, "--out", str(out), check=False)
    assert done.returncode == 2, done.stderr[-3000:]
    assert "No space left on device" in done.stderr and "Traceback" not in done.stderr
    assert not out.exists(), "a half-written artifact looks whole"
    ballast.unlink()
    subprocess.run(["mount", "-o", "remount,size=60m", str(disk)], check=True)
    finished.run(*command, "--out", str(out))
    assert (out / "manifest.json").read_bytes() == (reference / "manifest.json").read_bytes()
    assert [path.name for path in out.parent.iterdir()] == ["out"], "something was left beside it"


def test_a_kill_at_any_moment(finished: Checkout, stage: tuple[list[str], Path], tmp_path: Path) -> None:
    command, reference = stage
    whole = [*command, "--out", str(tmp_path / "out")]
    started = time.monotonic()
    finished.run(*command, "--out", str(tmp_path / "measured"))
    duration = time.monotonic() - started
    moments = random.Random(str(reference)).sample(range(30, 100, 5), 3)
    for moment in moments:
        running = subprocess.Popen(
            whole,
            cwd=finished.root,
            env=environment(finished),
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            running.wait(duration * moment / 100)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGKILL)
        running.wait()
        if (tmp_path / "out").exists():
            assert artifacts.verify(tmp_path / "out") == [], f"killed at {moment}%"
    finished.run(*whole)
    assert (tmp_path / "out" / "manifest.json").read_bytes() == (reference / "manifest.json").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["measured", "out"], "something was left beside it"


@pytest.fixture
def project(finished: Checkout, tmp_path: Path) -> Checkout:
    """A copy of the finished run that a test may break."""
    return copy_run(finished, tmp_path / "project")


def test_a_flipped_bit_is_not_trusted(project: Checkout) -> None:
    init, trained = (project.root / STAGES[name] for name in ("transplant", "train"))
    want = (trained / "manifest.json").read_bytes()
    weights = init / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-100] ^= 1
    weights.write_bytes(content)
    assert "content altered" in project.run("tokgraft", "verify", "results", check=False).stdout
    (trained / "manifest.json").unlink()
    target = f"{STAGES['train']}/manifest.json"
    failed = project.smoke(target, check=False)
    assert failed.returncode != 0
    text = failed.stdout + failed.stderr
    assert "the model is damaged" in text and "content altered" in text and "make or pull it again" in text
    assert not (trained / "manifest.json").exists()
    shutil.rmtree(init)
    project.smoke(target)
    assert (trained / "manifest.json").read_bytes() == want


def test_a_truncated_manifest_is_not_trusted(project: Checkout) -> None:
    tokenizer = project.root / STAGES["tokenizer"]
    want = (tokenizer / "manifest.json").read_bytes()
    (tokenizer / "manifest.json").write_bytes(want[: len(want) // 2])
    failed = project.smoke(check=False)
    assert failed.returncode != 0 and "manifest.json is damaged" in failed.stdout + failed.stderr
    shutil.rmtree(tokenizer)
    project.smoke(f"{STAGES['tokenizer']}/manifest.json")
    assert (tokenizer / "manifest.json").read_bytes() == want
    project.smoke()
    assert "0 problems" in project.run("tokgraft", "verify", "results").stdout


def test_two_runs_at_once(project: Checkout) -> None:
    """The second is told to wait; the first goes on."""
    trained = project.root / STAGES["train"]
    want = (trained / "manifest.json").read_bytes()
    (trained / "manifest.json").unlink()
    target = f"{STAGES['train']}/manifest.json"
    first = subprocess.Popen(
        ["snakemake", target, *SMOKE], cwd=project.root, env=environment(project), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while not list((project.root / ".snakemake/locks").glob("*")):
        assert first.poll() is None
        time.sleep(0.05)
    second = project.smoke(target, check=False)
    assert second.returncode != 0 and "lock" in (second.stdout + second.stderr).lower()
    assert first.wait() == 0
    assert (trained / "manifest.json").read_bytes() == want
    assert "Nothing to be done" in project.smoke().stderr
