"""An artifact appears whole or not at all, and says so when it was altered."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tokgraft import artifacts
from tokgraft.errors import ArtifactError


def make(folder: Path, text: str = "hello", **more: object) -> Path:
    with artifacts.create(folder, "speed", {"a": 1}, **more) as out:  # type: ignore[arg-type]
        (out / "data.txt").write_text(text)
        (out / "speed.json").write_text(str(os.urandom(8)))
    return folder


def test_equal_content_gives_equal_manifests(tmp_path: Path) -> None:
    one, two = make(tmp_path / "one"), make(tmp_path / "two")
    assert (one / "manifest.json").read_bytes() == (two / "manifest.json").read_bytes()
    assert artifacts.fingerprint(one) == artifacts.fingerprint(two)
    assert artifacts.fingerprint(make(tmp_path / "three", "other")) != artifacts.fingerprint(one)
    assert str(tmp_path) not in (one / "manifest.json").read_text()


def test_manifest_names_inputs_by_content(tmp_path: Path) -> None:
    source = make(tmp_path / "source")
    made = make(tmp_path / "made", inputs={"corpus": source})
    assert artifacts.read(made)["inputs"] == {"corpus": artifacts.fingerprint(source)}


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    folder = make(tmp_path / "a")
    before = artifacts.fingerprint(folder)

    def fail() -> None:
        with artifacts.create(folder, "speed", {}) as out:
            (out / "data.txt").write_text("half")
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        fail()
    assert artifacts.fingerprint(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_replaces_what_was_there(tmp_path: Path) -> None:
    folder = make(tmp_path / "a")
    make(folder, "new")
    assert (folder / "data.txt").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_killed_job_leaves_nothing_that_looks_whole(tmp_path: Path) -> None:
    code = (
        "import os, signal, pathlib; from tokgraft import artifacts\n"
        f"with artifacts.create(pathlib.Path({str(tmp_path / 'a')!r}), 'corpus', {{}}) as out:\n"
        "    (out / 'data.txt').write_text('half'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -9
    assert not (tmp_path / "a").exists()
    assert len(list(tmp_path.iterdir())) == 1
    with artifacts.create(tmp_path / "a", "corpus", {}) as first, artifacts.create(tmp_path / "a", "corpus", {}) as second:
        (first / "data.txt").write_text("one")
        (second / "data.txt").write_text("two")
        assert {path.name for path in tmp_path.iterdir()} == {first.name, second.name}, "the dead job's folder goes, a living one's stays"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert artifacts.verify(tmp_path / "a") == []


def test_verify_names_what_does_not_match(tmp_path: Path) -> None:
    folder = make(tmp_path / "a")
    assert artifacts.verify(folder) == []
    (folder / "data.txt").write_text("hellO")
    (folder / "extra.txt").write_text("x")
    problems = artifacts.verify(folder)
    assert len(problems) == 2
    assert "content altered" in problems[0] and "extra.txt: not in the manifest" in problems[1]
    (folder / "data.txt").write_text("hell")
    assert "4 bytes, the manifest says 5" in artifacts.verify(folder)[0]
    (folder / "data.txt").unlink()
    assert "missing" in artifacts.verify(folder)[0]


def test_damaged_or_missing_manifest_is_refused(tmp_path: Path) -> None:
    folder = make(tmp_path / "a")
    (folder / "manifest.json").write_text((folder / "manifest.json").read_text()[:40])
    with pytest.raises(ArtifactError, match="damaged"):
        artifacts.read(folder)
    (folder / "manifest.json").unlink()
    with pytest.raises(ArtifactError, match="not a finished artifact"):
        artifacts.read(folder)
    with pytest.raises(ArtifactError, match="is a speed, not a model"):
        artifacts.expect(make(tmp_path / "b"), "model")


def test_a_damaged_input_stops_before_work(tmp_path: Path) -> None:
    source = make(tmp_path / "source")
    make(tmp_path / "a", inputs={"corpus": source})
    (source / "data.txt").write_text("hellO")
    with pytest.raises(ArtifactError, match=r"the corpus is damaged: .*data.txt: content altered(.|\n)*make or pull it again"):
        make(tmp_path / "b", inputs={"corpus": source})
    (source / "data.txt").write_text("hell")
    with pytest.raises(ArtifactError, match="4 bytes, the manifest says 5"):
        make(tmp_path / "b", inputs={"corpus": source})
    assert not (tmp_path / "b").exists()


def test_writers_at_once_leave_one_whole_artifact(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from tokgraft import artifacts\n"
        "for number in range(40):\n"
        f"    with artifacts.create(pathlib.Path({str(tmp_path / 'a')!r}), 'corpus', {{}}) as out:\n"
        "        (out / 'data.txt').write_text(sys.argv[1] * 1000)\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, name]) for name in "xyz"]
    assert [one.wait() for one in running] == [0, 0, 0]
    assert artifacts.verify(tmp_path / "a") == []
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_an_input_that_is_not_there_stops_before_work(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="does not exist"):
        make(tmp_path / "a", inputs={"corpus": tmp_path / "nowhere"})
    assert not (tmp_path / "a").exists()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ArtifactError, match="cannot write"):
        make(tmp_path / "file" / "a")


def test_run_record_holds_what_the_manifest_must_not(tmp_path: Path) -> None:
    run = json.loads((make(tmp_path / "a") / "run.json").read_text())
    assert {"command", "wall_seconds", "processor_seconds", "peak_memory_bytes", "started", "python", "platform"} <= set(run)
    assert run["peak_memory_bytes"] > 1_000_000
