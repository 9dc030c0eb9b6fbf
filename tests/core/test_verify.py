"""`tokgraft verify` says what is not as it was: files, manifests, inputs; in lines, with status 1, never with a traceback."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tokgraft import artifacts
from tokgraft.artifacts import _manifest
from tokgraft.cli import main
from tokgraft.errors import ArtifactError


def make(folder: Path, text: str = "hello", kind: str = "model", **inputs: Path) -> Path:
    with artifacts.create(folder, kind, {"seed": 0}, inputs) as out:
        (out / "model.safetensors").write_text(text)
        for name in artifacts.VOLATILE.get(kind, ()):
            (out / name).parent.mkdir(exist_ok=True)
            (out / name).write_text(f"12 s of {text}")
    return folder


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """corpus and base -> trained -> scores -> tables."""
    root = tmp_path / "results"
    corpus, base = make(root / "corpora/x", "text", "corpus"), make(root / "models/base")
    trained = make(root / "models/trained", "trained", model=base, corpus=corpus)
    scores = make(root / "scores/trained", "scores", "scores", model=trained)
    make(root / "tables", "tables", "tables", scores=scores)
    return root


def lines(folder: Path, capsys: pytest.CaptureFixture[str], status: int = 1) -> list[str]:
    capsys.readouterr()
    assert main(["verify", str(folder)]) == status
    return capsys.readouterr().out.splitlines()


def test_a_whole_tree_has_no_problem_also_elsewhere(tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lines(tree, capsys, 0) == ["5 artifacts, 0 problems"]
    moved = shutil.move(tree, tmp_path / "moved")
    assert lines(Path(moved), capsys, 0) == ["5 artifacts, 0 problems"]
    shutil.rmtree(tmp_path / "moved/models/base")
    assert lines(Path(moved), capsys, 0) == ["4 artifacts, 0 problems"]


def test_an_input_that_is_no_longer_what_it_was(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tree / "corpora/x", "another text", "corpus")
    found = lines(tree, capsys)
    assert found[:-1] == [f"{tree}/models/trained: its corpus is no longer what it was: {tree}/corpora/x changed since"]
    assert len(lines(tree / "models", capsys)) == 2, "also when only the consumer is given"


def test_a_plain_model_folder_that_is_no_longer_what_it_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/config.json").write_text("{}")
    made = make(tmp_path / "made", model=tmp_path / "mine")
    (tmp_path / "mine/special_tokens_map.json").write_text("{}")
    assert "its model is no longer what it was" in lines(made, capsys)[0]


def edit(folder: Path, change) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")


def test_a_manifest_edited_by_hand(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another seed; weights that are no longer listed; weights that are called volatile, or a file's new hash."""
    edits = [
        lambda manifest: manifest["settings"].update(seed=1),
        lambda manifest: manifest["files"].pop("model.safetensors"),
        lambda manifest: manifest.update(volatile=[*manifest["files"]], files={}),
        lambda manifest: manifest["files"]["model.safetensors"].update(
            sha256=artifacts.file_sha256(tree / "models/base/model.safetensors")
        ),
    ]
    (tree / "models/base/model.safetensors").write_text("HELLO")
    make_again = (tree / "models/base/manifest.json").read_bytes()
    for change in edits:
        edit(tree / "models/base", change)
        found = "\n".join(lines(tree, capsys))
        assert "models/base/manifest.json: edited since" in found
        assert "models/trained: its model is no longer what it was" in found
        with pytest.raises(ArtifactError, match="the model is damaged"):
            make(tree / "models/other", model=tree / "models/base")
        (tree / "models/base/manifest.json").write_bytes(make_again)


@pytest.mark.parametrize("name", ["report.html", "measured.csv", "runs.json"])
def test_files_that_differ_from_run_to_run_are_compared_too(tree: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    (tree / "tables" / name).write_text("12 s of tablez")
    assert lines(tree, capsys) == [f"{tree}/tables/{name}: content altered (sha256 differs)", "5 artifacts, 1 problems"]
    (tree / "tables" / name).unlink()
    assert lines(tree, capsys)[0] == f"{tree}/tables/{name}: missing"


@pytest.mark.parametrize("name", sorted(artifacts.VOLATILE["model"]))
def test_a_volatile_name_that_the_run_did_not_record_is_not_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    with artifacts.create(tmp_path / "a", "model", {}) as out:
        (out / "model.safetensors").write_text("hello")
    (tmp_path / "a" / name).write_text("mine")
    assert lines(tmp_path / "a", capsys) == [f"{tmp_path}/a/{name}: not in the manifest", "1 artifacts, 1 problems"]
    (tmp_path / "a/run.json").unlink()
    assert lines(tmp_path / "a", capsys, 0)[-1] == "1 artifacts, 0 problems", "without the record it may have been one of the run"


def test_weights_deleted_beside_a_manifest(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tree / "models/base/model.safetensors").unlink()
    assert lines(tree, capsys)[0] == f"{tree}/models/base/model.safetensors: missing"
    with pytest.raises(ArtifactError, match=r"the model is damaged: .*model\.safetensors: missing"):
        make(tree / "models/other", model=tree / "models/base")


def test_a_folder_that_lost_its_manifest_is_a_failure(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tree / "models/base/manifest.json").unlink()
    assert lines(tree, capsys) == [
        f"{tree}/models/base: manifest.json is missing (run.json says that this is a model)",
        f"{tree}/models/trained: its model is no longer what it was: {tree}/models/base changed since",
        "5 artifacts, 2 problems",
    ]
    assert "manifest.json is missing" in lines(tree / "models/base", capsys)[0], "also when it is named itself"
    with pytest.raises(ArtifactError, match=r"the model is damaged: .*manifest\.json is missing"):
        make(tree / "models/other", model=tree / "models/base")
    (tree / "notes").mkdir()
    (tree / "notes/run.json").write_text('{"mine": 1}')
    assert lines(tree, capsys)[-1] == "5 artifacts, 2 problems", "a run.json of somebody else says nothing"


def test_an_artifact_without_run_json_is_told_and_no_failure(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A copy without it is as good as before; what can no longer be seen is said."""
    for name in ("base", "trained"):
        (tree / "models" / name / "run.json").unlink()
    note, total = lines(tree, capsys, 0)
    assert total == "5 artifacts, 0 problems"
    assert note.startswith(f"note: 2 of them have no run.json ({tree}/models/base, {tree}/models/trained): edits")


def test_what_only_looks_like_a_file_of_snakemake_or_dvc_is_foreign(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = tree / "models/base"
    (base / ".gitignore").write_text("/model.safetensors\n")
    (base / ".snakemake_timestamp").write_text("")
    assert lines(tree, capsys, 0)[-1] == "5 artifacts, 0 problems", "as DVC and Snakemake write them"
    (base / ".gitignore").write_text("*.log\n")
    (base / "drafts/old").mkdir(parents=True)
    (base / "more").mkdir()
    (base / "more/.gitignore").write_text("/model.safetensors\n")
    (base / ".snakemake_timestamp").write_text("mine")
    found = lines(base, capsys)
    for name in (".gitignore", ".snakemake_timestamp", "drafts/old/", "more/.gitignore"):
        assert f"{base}/{name}: not in the manifest" in found
    assert found[-1] == "1 artifacts, 4 problems"


def test_an_unlisted_file_stops_every_stage(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in (".snakemake_timestamp", ".gitignore"):
        (tree / "models/base" / name).write_text("")
    make(tree / "models/other", model=tree / "models/base")
    (tree / "models/base/special_tokens_map.json").write_text("{}")
    assert lines(tree, capsys)[0] == f"{tree}/models/base/special_tokens_map.json: not in the manifest"
    with pytest.raises(ArtifactError, match=r"special_tokens_map.json: not in the manifest\n.*move files of your own out of it"):
        make(tree / "models/other", model=tree / "models/base")
    with pytest.raises(ArtifactError, match="not in the manifest"):
        artifacts.expect(tree / "models/base", "model")


def test_an_input_that_changes_during_the_work(tree: Path) -> None:
    base = tree / "models/base"

    def work(change) -> None:
        with artifacts.create(tree / "models/other", "model", {}, {"model": base}) as out:
            (out / "data").write_text("x")
            change()

    with pytest.raises(ArtifactError, match=r"the model .*base.* was changed while it was in use"):
        work(lambda: make(base, "made anew meanwhile"))
    with pytest.raises(ArtifactError, match="content altered"):
        work(lambda: (base / "model.safetensors").write_text("made_anew meanwhile"))
    make(base)
    work(lambda: make(base))  # made again with the same content
    assert not list((tree / "models").glob(".*"))


def test_an_early_begin_counts_from_before_the_reading(tree: Path) -> None:
    begun = artifacts.begin(tree / "models/other", "model", {"model": tree / "models/base"})
    make(tree / "models/base", "replaced between reading and writing")
    with (
        pytest.raises(ArtifactError, match="was changed while it was in use"),
        artifacts.create(tree / "models/other", "model", {}, begun) as out,
    ):
        (out / "data").write_text("x")
    assert not (tree / "models/other").exists()


def test_each_file_is_hashed_once_in_a_process(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = tree / "models/base/model.safetensors"
    os.utime(weights, (1, 1))
    monkeypatch.setattr(_manifest, "_SETTLED", -(2**62))  # no file is too young to be trusted to keep its time stamp
    monkeypatch.setattr(_manifest, "_hashed", {})
    hashed: list[Path] = []
    whole = artifacts.file_sha256
    monkeypatch.setattr(_manifest, "file_sha256", lambda path: (hashed.append(path), whole(path))[1])
    for _ in range(3):
        assert artifacts.verify(tree / "models/base") == []
    assert hashed.count(weights) == 1
    weights.write_text("hellO")
    os.utime(weights, (1, 1))
    assert "content altered" in artifacts.verify(tree / "models/base")[0], "the same size and date, another content"


MANIFESTS = {
    "null": "null", "list": "[]", "text": '"x"', "empty": "", "number": "1", "deep": "[" * 100_000, "not UTF-8": b"\xff\xfe{}",
    "no files": '{"schema": 1, "kind": "model", "settings": {}, "inputs": {}}',
    "files a list": '{"schema": 1, "kind": "model", "settings": {}, "inputs": {}, "files": []}',
    "a size in words": '{"schema": 1, "kind": "model", "settings": {}, "inputs": {}, "files": {"a": {"sha256": "x", "bytes": "1"}}}',
    "a file outside": '{"schema": 1, "kind": "model", "settings": {}, "inputs": {}, "files": {"../a": {"sha256": "x", "bytes": 1}}}',
    "a null in a name": '{"schema": 1, "kind": "model", "settings": {}, "inputs": {}, "files": {"a\\u0000": {"sha256": "x", "bytes": 1}}}',
    "another schema": '{"schema": 99}',
}  # fmt: skip


@pytest.mark.parametrize("case", MANIFESTS)
@pytest.mark.parametrize("file", ["manifest.json", "run.json"])
def test_damaged_manifests_are_lines(tree: Path, capsys: pytest.CaptureFixture[str], case: str, file: str) -> None:
    content = MANIFESTS[case]
    (tree / "models/base" / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    if file == "run.json" and content[:1] == "{":
        return  # an object without a record says nothing about the files
    found = lines(tree, capsys)
    assert any(str(tree / "models/base" / file) in line for line in found) and found[-1].startswith("5 artifacts, ")
    with pytest.raises(ArtifactError):
        make(tree / "models/other", model=tree / "models/base")


ODD: list[Any] = [
    [["a"]],
    1,
    1.5,
    True,
    None,
    {"a": 1},
    {"a": {}},
    {"a": {"sha256": 1, "bytes": "1"}},
    {"../a": {"sha256": "a", "bytes": 1}},
]
RECORDS = [(key, value) for key in ("", "kind", "manifest", "files", "volatile", "inputs") for value in ODD]
RECORDS += [(key, value) for key in ("", "volatile", "inputs") for value in ("a", ["a"])] + [
    ("files", "a"),
    ("kind", ["a"]),
    ("manifest", []),
]


@pytest.mark.parametrize(("key", "value"), RECORDS, ids=json.dumps)
def test_a_record_of_another_form_is_a_line(tree: Path, capsys: pytest.CaptureFixture[str], key: str, value: Any) -> None:
    path = tree / "models/trained/run.json"
    run = json.loads(path.read_text())
    run["record"] = {**run["record"], key: value} if key else value
    path.write_text(json.dumps(run))
    found = lines(tree, capsys)
    assert len([line for line in found if line.startswith(f"{path} is damaged: record")]) == 1, found
    with pytest.raises(ArtifactError, match="the model is damaged"):
        make(tree / "models/other", model=tree / "models/trained")
    with pytest.raises(ArtifactError, match=r"also holds run\.json"):
        make(tree / "models/trained")
    (tree / "models/trained/manifest.json").unlink()
    assert not [line for line in lines(tree, capsys) if "Traceback" in line]
    with pytest.raises(ArtifactError, match="is not replaced"):
        make(tree / "models/trained")


def test_what_cannot_be_read_is_a_line(tree: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    (tree / "models/base/model.safetensors").unlink()
    (tree / "models/base/model.safetensors").symlink_to("model.safetensors")
    assert lines(tree, capsys)[0] == f"{tree}/models/base/model.safetensors: missing"
    whole = artifacts.file_sha256

    def denied(path: Path) -> str:
        if path.name == "model.safetensors":
            raise PermissionError(13, "Permission denied", str(path))
        return whole(path)

    monkeypatch.setattr(_manifest, "file_sha256", denied)
    monkeypatch.setattr(_manifest, "_hashed", {})
    assert f"{tree}/corpora/x/model.safetensors: cannot be read (Permission denied)" in lines(tree, capsys)
    scan = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: denied(Path("model.safetensors")) if str(path).endswith("models") else scan(path))
    assert any("cannot be read: Permission denied" in line for line in lines(tree, capsys))


def test_every_folder_given_must_hold_an_artifact(tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "nothing").mkdir()
    for folder in ("nothing", "nowhere"):
        assert main(["verify", str(tree), str(tmp_path / folder)]) != 0
        found = capsys.readouterr()
        assert folder in found.out + found.err


def test_linked_folders_are_seen_once(tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.move(tree / "models", tmp_path / "disk")
    (tree / "models").symlink_to(tmp_path / "disk")
    (tmp_path / "disk/loop").symlink_to(tree)
    assert lines(tree, capsys, 0) == ["5 artifacts, 0 problems"]


def test_names_that_are_no_text(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path(os.fsdecode(os.fsencode(tree / "models/base") + b"/\xff.txt")).write_text("x")
    assert "not in the manifest" in lines(tree, capsys)[0]
