"""What --out may replace: nothing but an artifact of the same kind, and nothing at all that belongs to someone else."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tokgraft import artifacts
from tokgraft.artifacts import _writing
from tokgraft.cli import main
from tokgraft.errors import ArtifactError


def make(folder: Path, text: str = "hello", kind: str = "model", **more: object) -> Path:
    with artifacts.create(folder, kind, {"a": 1}, **more) as out:  # type: ignore[arg-type]
        (out / "data.txt").write_text(text)
    return folder


def thesis(folder: Path) -> Path:
    (folder / ".git").mkdir(parents=True)
    (folder / ".git/HEAD").write_text("ref: refs/heads/main\n")
    (folder / "thesis.tex").write_text("five years of work")
    return folder


def everything(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def never() -> None:
    raise AssertionError("the work began")


def refused(out: Path, match: str, kind: str = "model", force: bool = False, **inputs: Path) -> None:
    """`create` refuses before its block is entered, and nothing changes."""
    with artifacts.forced(force), pytest.raises(ArtifactError, match=match), artifacts.create(out, kind, {}, inputs):
        never()


def test_a_folder_of_someone_else_stays(tmp_path: Path) -> None:
    folder = thesis(tmp_path / "thesis")
    before = everything(folder)
    refused(folder, r"not replaced.*\.git/HEAD, thesis\.tex\n.*--force")
    assert everything(folder) == before


@pytest.mark.parametrize("name", ["notes.md", ".git/HEAD", "special_tokens_map.json", "deep/er/notes.md"])
def test_an_artifact_with_a_foreign_file_stays(tmp_path: Path, name: str) -> None:
    folder = make(tmp_path / "a")
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("mine")
    refused(folder, f"it is a model that also holds {name}")
    assert (folder / name).read_text() == "mine"


def test_a_link_in_an_artifact_is_foreign(tmp_path: Path) -> None:
    folder, other = make(tmp_path / "a"), thesis(tmp_path / "thesis")
    (folder / "link").symlink_to(other)
    refused(folder, "also holds link")


def test_an_artifact_of_another_kind_stays(tmp_path: Path) -> None:
    folder = make(tmp_path / "a", kind="corpus")
    refused(folder, "it is a corpus, not a model")
    assert artifacts.verify(folder) == []


def test_what_may_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    make(tmp_path / "empty")
    make(tmp_path / "empty", "again")
    artifacts.skip(tmp_path / "empty", "cannot be had", {})
    assert artifacts.skipped(tmp_path / "empty") == "cannot be had"
    make(tmp_path / "empty", "had after all", kind="scores")
    assert (tmp_path / "empty/data.txt").read_text() == "had after all"
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_what_snakemake_and_dvc_leave_is_not_foreign(tmp_path: Path) -> None:
    """Before it runs a job again Snakemake deletes the declared outputs: the manifest, and tables."""
    folder = make(tmp_path / "a")
    for name in (".snakemake_timestamp", ".gitignore"):
        (folder / name).write_text("")
    (folder / "manifest.json").unlink()
    make(folder, "again")
    assert artifacts.verify(folder) == [] and (folder / "data.txt").read_text() == "again"
    (folder / "manifest.json").unlink()
    (folder / "notes.md").write_text("mine")
    refused(folder, "it is a model that also holds notes.md")
    (folder / "run.json").write_text("[]")
    refused(folder, "no manifest.json or run.json says what it is, and it holds data.txt, notes.md, run.json")


NOTES = ['{"my": "notes"}', "[]", "no JSON", "{", '{"record": {"mine": 1}}']


@pytest.mark.parametrize("content", NOTES)
def test_a_run_json_of_the_user_stays(tmp_path: Path, content: str) -> None:
    """In a folder that is no artifact, and beside the manifest of a copy that came without its own."""
    (tmp_path / "alone").mkdir()
    (make(tmp_path / "a") / "run.json").unlink()
    for name, match in (
        ("alone", "no manifest.json or run.json says what it is, and it holds run.json"),
        ("a", "a model that also holds run.json"),
    ):
        (tmp_path / name / "run.json").write_text(content)
        refused(tmp_path / name, match)
        with artifacts.forced(True):
            make(tmp_path / name)
        assert (tmp_path / f"{name}.old/run.json").read_text() == content


@pytest.mark.parametrize("name", ["manifest.json", "run.json"])
@pytest.mark.parametrize("target", ["nowhere", ".", "other/run.json"])
def test_a_link_that_is_called_as_a_file_of_ours_stays(tmp_path: Path, name: str, target: str) -> None:
    make(tmp_path / "other")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / name).symlink_to(tmp_path / target)
    refused(tmp_path / "a", f"and it holds {name}")
    assert (tmp_path / "a" / name).is_symlink()


@pytest.mark.parametrize("name", sorted(artifacts.VOLATILE["model"]))
def test_a_file_of_the_user_that_is_called_as_a_volatile_one_stays(tmp_path: Path, name: str) -> None:
    """Whether the manifest is there, or Snakemake has deleted it; what the run itself has recorded is replaced."""
    folder = make(tmp_path / "a")
    (folder / name).write_text("mine")
    refused(folder, f"it is a model that also holds {name}")
    (folder / "manifest.json").unlink()
    refused(folder, f"it is a model that also holds {name}")
    assert (folder / name).read_text() == "mine"
    with artifacts.create(tmp_path / "b", "model", {}) as out:
        (out / "data.txt").write_text("hello")
        (out / name).write_text("12 s")
    make(tmp_path / "b")
    assert not (tmp_path / "b" / name).exists()


def cell_list(path: Path) -> dict[str, str]:
    """Write the cells of an experiment that has one cell; role -> folder that it names."""
    roles = ("base", "corpus", "english", "tokenizer", "evaluation", "init", "trained", "score_init", "score_trained", "speed")
    folders = {role: f"products/{role}/a" for role in roles}
    slugs = dict.fromkeys(("model", "language", "tokenizer", "method", "recipe"), "x")
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"experiment": "x", "cells": [{**slugs, "chain": "mean", "seed": 0, "paths": folders}]}))
    return folders


def test_a_report_takes_the_place_of_nothing_that_it_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    folders = cell_list(Path("experiments/x/cells.json"))
    for role, folder in folders.items():
        make(Path(folder), kind="tables" if role == "speed" else "model")
    before = everything(tmp_path)
    for out in ("experiments", "experiments/x", *folders.values(), *(str(Path(folder).parent) for folder in folders.values())):
        assert main(["report", "--cells", "experiments/x/cells.json", "--out", out, "--force"]) == 2
        assert re.search(r"would replace an input|holds an input", capsys.readouterr().err), out
        assert everything(tmp_path) == before


@pytest.mark.parametrize("name", [".gitignore", "sub/.gitignore", "empty/", "deep/empty/", ".snakemake_timestamp"])
def test_whatever_a_user_put_into_an_artifact_is_not_lost(tmp_path: Path, name: str) -> None:
    folder = make(tmp_path / "a")
    path = folder / name
    if name.endswith("/"):
        path.mkdir(parents=True)
    else:
        path.parent.mkdir(exist_ok=True)
        path.write_text("*.log\n")
    refused(folder, f"it is a model that also holds {name}")
    assert path.exists()
    with artifacts.forced(True):
        make(folder, "again")
    assert (tmp_path / "a.old" / name).exists() and not path.exists()


def test_a_folder_with_an_empty_folder_in_it_is_not_empty(tmp_path: Path) -> None:
    (tmp_path / "a/mine").mkdir(parents=True)
    refused(tmp_path / "a", "no manifest.json or run.json says what it is, and it holds mine/")


def test_an_artifact_has_no_empty_folder_itself(tmp_path: Path) -> None:
    with artifacts.create(tmp_path / "a", "model", {}) as folder:
        (folder / "figures/more").mkdir(parents=True)
        (folder / "data.txt").write_text("text")
    assert artifacts.verify(tmp_path / "a") == [] and not (tmp_path / "a/figures").exists()


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "free space, or choose another folder"), (errno.EDQUOT, "free space, or choose another folder"),
        (errno.ENOTDIR, "choose another folder: a part of this path is a file"), (errno.EACCES, "change the permissions, or choose another folder"),
        (errno.EROFS, "choose another folder: this file system is read-only"), (errno.ENAMETOOLONG, "choose a shorter name"),
        (errno.EIO, "choose another folder"),
    ],
)  # fmt: skip
def test_the_advice_fits_what_the_system_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, advice: str) -> None:
    def refuse(*args: object, **more: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("tempfile.TemporaryDirectory", refuse)
    with pytest.raises(ArtifactError, match="cannot write to") as found:
        artifacts.check_place(tmp_path / "a", "model")
    assert found.value.do == advice
    monkeypatch.setattr("os.rename", refuse)
    with pytest.raises(ArtifactError, match="cannot write") as found:
        artifacts.write_files({tmp_path / "b.txt": "text"})
    assert found.value.do == advice


def test_a_file_in_the_way_is_no_full_disk(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match=r"cannot write to .*file/sub: Not a directory\n.*a part of this path is a file"):
        make(tmp_path / "file/sub/a")


def test_a_read_only_disk_is_no_full_one(tmp_path: Path) -> None:
    for number, advice in ((errno.EROFS, "read-only"), (errno.ENOSPC, "free space")):
        with pytest.raises(ArtifactError, match="cannot finish") as found, artifacts.create(tmp_path / "a", "model", {}):
            raise OSError(number, os.strerror(number))
        assert advice in found.value.do and ("free space" in found.value.do) == (number == errno.ENOSPC)


def test_force_moves_aside_and_deletes_nothing(tmp_path: Path) -> None:
    before = everything(thesis(tmp_path / "a"))
    for _ in range(2):
        with artifacts.forced(True):
            make(tmp_path / "a")
        assert artifacts.verify(tmp_path / "a") == [] and everything(tmp_path / "a.old") == before
        (tmp_path / "a/notes.md").write_text("mine")
    with artifacts.forced(True):
        make(tmp_path / "a")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "a.old", "a.old-2", "a.old-3"]
    assert (tmp_path / "a.old-3/notes.md").read_text() == "mine"


def test_force_leaves_everything_where_it_is_when_the_work_fails(tmp_path: Path) -> None:
    thesis(tmp_path / "a")
    with artifacts.forced(True), pytest.raises(RuntimeError), artifacts.create(tmp_path / "a", "model", {}):
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_comes_during_the_work_is_moved_aside(tmp_path: Path) -> None:
    with artifacts.create(tmp_path / "a", "model", {}) as out:
        (out / "data.txt").write_text("hello")
        thesis(tmp_path / "a")
    assert artifacts.verify(tmp_path / "a") == [] and (tmp_path / "a.old/thesis.tex").is_file()


@pytest.mark.parametrize("force", [False, True])
def test_what_not_even_force_allows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, force: bool) -> None:
    work = tmp_path / "home/project"
    model = make(work / "models/base")
    monkeypatch.chdir(work)
    for out in (Path("."), Path(".."), Path("models/.."), work, Path("/")):
        refused(out, "is the folder you are in, or holds it", force=force)
    refused(Path("models/base"), r"would replace an input \(the base\)", force=force, base=model)
    refused(Path("models"), r"holds an input \(the base, ", force=force, base=model)
    refused(model / "adapted", "lies inside an input", force=force, base=model)
    refused(model / "adapted", "lies inside .*base, a model, which it would damage", force=force)
    Path("file").write_text("x")
    refused(Path("file"), "is a file", force=force)
    refused(Path("file/a"), "cannot write to", force=force)
    for name, target in (("link", "models"), ("dangling", "nowhere"), ("loop", "loop")):
        Path(name).symlink_to(target)
        refused(Path(name), "is a symbolic link", force=force)
    Path("alias").symlink_to("models")
    refused(Path("alias/base"), "would replace an input", force=force, base=model)
    assert artifacts.verify(model) == [] and Path("file").read_text() == "x" and Path("link").is_symlink()


STAGES = {
    "corpus": ["--language", "deu_Latn"],
    "model": ["--model", "smollm2-135m"],
    "tokenizer": ["--settings", '{"trainer": "bpe", "vocab_size": 300}', "--corpus", "none"],
    "tokenizer evaluate": ["--tokenizer", "none", "--corpus", "none"],
    "resource": ["--name", "dictionary", "--corpus", "none"],
    "transplant": ["--model", "none", "--tokenizer", "none", "--method", "mean"],
    "train": ["--model", "none", "--corpus", "none", "--recipe", "smoke"],
    "score": ["--model", "none", "--corpus", "none", "--tasks", "bpb"],
    "hydra": ["--adapted", "none", "--base", "none"],
    "sibling": ["--adapted", "none", "--base", "none", "--sibling", "none"],
}


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_refuses_before_it_reads_anything(
    stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their inputs are folders that hold nothing of use, and the first complaint is about --out."""
    folder, config = thesis(tmp_path / "thesis"), Path("config").resolve()
    (tmp_path / "work/none").mkdir(parents=True)
    (tmp_path / "work/none/x").write_text("")
    monkeypatch.chdir(tmp_path / "work")
    Path("config").symlink_to(config)
    before = everything(folder)
    assert main([*stage.split(), *STAGES[stage], "--out", str(folder)]) == 2
    assert "is not replaced" in capsys.readouterr().err and everything(folder) == before


@pytest.mark.parametrize(
    "command",
    [
        ["mixture", "--corpora", "none", "--tokenizer", "none"],
        ["adversarial", "--corpus", "none", "--tokenizer", "none"],
        ["compare", "none", "--text", "x"],
    ],
)
def test_a_file_that_is_there_stays(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "work/none").mkdir(parents=True)
    (tmp_path / "work/none/x").write_text("")
    monkeypatch.chdir(tmp_path / "work")
    (tmp_path / "page.json").write_text("mine")
    out = tmp_path / ("page.html" if command[0] == "compare" else "page.json")
    assert main(["tokenizer", *command, "--out", str(out)]) == 2
    assert "page.json is there already" in capsys.readouterr().err and (tmp_path / "page.json").read_text() == "mine"
    Path("folder").mkdir()
    assert main(["tokenizer", *command, "--out", "folder"]) == 2
    assert "is a folder" in capsys.readouterr().err


def test_files_are_written_whole_and_force_keeps_the_old_ones(tmp_path: Path) -> None:
    page = tmp_path / "new/page.html"
    artifacts.check_files([page])
    artifacts.write_files({page: "one"})
    with artifacts.forced(True):
        artifacts.check_files([page])
    artifacts.write_files({page: "two"})
    assert sorted(path.name for path in page.parent.iterdir()) == ["page.html", "page.html.old"] and page.read_text() == "two"
    with pytest.raises(ArtifactError, match="would replace an input"):
        artifacts.check_files([tmp_path / "texts.txt"], {"texts": tmp_path / "texts.txt"})
    with pytest.raises(ArtifactError, match="written twice"):
        artifacts.check_files([tmp_path / "page.json", tmp_path / "page.json"])


KILL = """
import os, pathlib, signal, sys
from tokgraft import artifacts
from tokgraft.artifacts import _writing
if sys.argv[2] == "two steps":
    _writing._exchange = lambda one, other: False
rename, left = os.rename, [int(sys.argv[3])]
def counted(*names):
    rename(*names)
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
os.rename = counted
exchange = _writing._exchange
def exchanged(*names):
    done = exchange(*names)
    if done:
        os.kill(os.getpid(), signal.SIGKILL)
    return done
_writing._exchange = exchanged
with artifacts.create(pathlib.Path(sys.argv[1]), "model", {}) as out:
    (out / "data.txt").write_text("new")
"""


@pytest.mark.parametrize(("way", "renames", "content"), [("one step", 9, "new"), ("two steps", 1, "old"), ("two steps", 2, "new")])
def test_a_kill_while_the_new_takes_the_place_of_the_old(tmp_path: Path, way: str, renames: int, content: str) -> None:
    out = make(tmp_path / "a", "old")
    done = subprocess.run([sys.executable, "-c", KILL, str(out), way, str(renames)], check=False)
    assert done.returncode == -signal.SIGKILL
    with pytest.raises(RuntimeError), artifacts.create(out, "model", {}):
        raise RuntimeError  # the next run finds what is left, whether it succeeds or not
    assert artifacts.verify(out) == [] and (out / "data.txt").read_text() == content
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_leftovers_of_another_name_are_left_alone(tmp_path: Path) -> None:
    for name in (".a.b.0123abcd.part", ".a.0123abcd.part.txt", ".a.old", ".axb.0123abcd.old"):
        (tmp_path / name).mkdir()
    before = sorted(path.name for path in tmp_path.iterdir())
    make(tmp_path / "a")
    assert sorted(path.name for path in tmp_path.iterdir()) == [*before, "a"]
    make(tmp_path / "[a]")
    (tmp_path / ".[a].0123abcd.part").mkdir()
    make(tmp_path / "[a]")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*before, "a", "[a]"])


@pytest.mark.parametrize("mask", [0o077, 0o022, 0o007])
def test_modes_are_those_of_the_umask(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        with artifacts.create(tmp_path / "a", "model", {}) as out:
            (out / "data.txt").write_text("hello")
            (out / "deep").mkdir()
            (out / "deep/weights").write_text("hello")
            (out / "deep/weights").chmod(0o644)  # some libraries do so, others leave 0600
            (out / "data.txt").chmod(0o600)
    finally:
        os.umask(before)
    for path in [tmp_path / "a", *(tmp_path / "a").rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o777 if path.is_dir() else 0o666) & ~mask, path


def test_everything_is_on_the_disk_before_it_takes_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: steps.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name))
    put = _writing.put
    monkeypatch.setattr(_writing, "put", lambda *given: (steps.append("put"), put(*given)))
    make(tmp_path / "a")
    before = steps[: steps.index("put")]
    assert {"data.txt", "manifest.json", "run.json"} <= set(before) and before[-1].endswith(".part")
    assert steps[-1] == tmp_path.name, "the name of the new folder"


def test_a_full_disk_is_said_where_it_is_full(tmp_path: Path) -> None:
    """An error that names its place keeps it, and so does one that another part of the program has understood."""

    def fail(error: Exception) -> None:
        with artifacts.create(tmp_path / "a", "model", {}):
            raise error

    with pytest.raises(ArtifactError, match=r"checkpoint to /scratch"):
        fail(ArtifactError("cannot write a checkpoint to /scratch: No space left on device"))
    with pytest.raises(ArtifactError, match=r"/tmp/elsewhere: No space left"):
        fail(OSError(28, "No space left on device", "/tmp/elsewhere"))
    with pytest.raises(ArtifactError, match=r"cannot finish .*a: .*No space left"):
        fail(RuntimeError("I/O error: No space left on device (os error 28)"))
