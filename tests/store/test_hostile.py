"""A remote and a clone that mean harm: a pull or push writes, moves and reads nothing outside results/."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from tests.store.conftest import know, make_checkout
from tokgraft import artifacts
from tokgraft.cells import load_cells
from tokgraft.cli import main
from tokgraft.config import layout
from tokgraft.store import StoreError, records, stages
from tokgraft.store.pull import pull
from tokgraft.store.push import push

CELLS = Path(layout.cells("demo"))
ONE = layout.scores("pocket", "deu_Latn", "bpe8k", "mean", 0, "init")
EVIL = "#!/bin/sh\ntouch /tmp/owned\n"


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def locked(path: str) -> str:
    """The object that dvc.lock names for an artifact."""
    return yaml.safe_load(Path("dvc.lock").read_text())["stages"][stages.stage_name(path)]["outs"][0]["md5"]


def put(objects: Path, name: str, content: bytes) -> None:
    """Write an object of a store, whatever its content."""
    place = objects / name[:2] / name[2:]
    place.parent.mkdir(exist_ok=True, parents=True)
    if place.exists():
        place.chmod(0o644)
    place.write_bytes(content)


def everything(root: Path) -> dict[str, bytes]:
    """All files beside results/ and what DVC and Snakemake keep for themselves."""
    own = {"results", ".dvc", ".dvc-store", ".snakemake", "__pycache__"}
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.relative_to(root).parts[0] not in own
    }


@pytest.fixture(scope="module")
def stored_once(small, tmp_path_factory):
    """A checkout whose results are in its store."""
    root = make_checkout(small, tmp_path_factory.mktemp("stored") / "checkout")
    push(load_cells(root / CELLS), root)
    return root


@pytest.fixture
def checkout(stored_once, tmp_path, monkeypatch):
    """A copy of it, and the working directory."""
    shutil.copytree(stored_once, tmp_path / "checkout", symlinks=True)
    monkeypatch.chdir(tmp_path / "checkout")
    return tmp_path / "checkout"


@pytest.fixture
def pushed(checkout):
    """The folder of the store's objects."""
    return checkout / ".dvc-store/files/md5"


# --- the remote ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["../../../../../../../../.git/hooks/post-checkout", "../../victim", "{root}/victim", "a/../../../victim"])
def test_a_remote_cannot_write_where_its_list_of_files_points(pushed, clone, checkout, path):
    """dvc.lock is the true one; the object that it names has another content."""
    name, payload = locked(ONE), EVIL.encode()
    root = clone(checkout)
    entries = json.loads((pushed / name[:2] / name[2:]).read_bytes())
    entries.append({"md5": md5(payload), "relpath": path.format(root=root)})
    put(pushed, md5(payload), payload)
    put(pushed, name, json.dumps(entries).encode())
    before, around = everything(root), sorted(root.parent.iterdir())
    got = pull(stages.Choice(folders=(ONE,)).of(stages.stored(root)))
    assert everything(root) == before and sorted(root.parent.iterdir()) == around and not (root / ONE).exists()
    assert list(got.damaged) == [ONE] and name in got.damaged[ONE].replace("/", "")
    put(pushed, name, json.dumps(entries[:-1]).encode())  # not the true bytes, either


@pytest.mark.parametrize("relpath", ["../../../../../../../../.git/hooks/post-checkout", "/tmp/victim", "a//b", "./a", "a\\..\\b", "", 7])
def test_a_list_of_files_that_leads_out_is_refused_even_where_dvc_lock_names_it(pushed, clone, checkout, relpath):
    """The commit and the store belong together, and both mean harm."""
    payload, old = EVIL.encode(), locked(ONE)
    content = json.dumps([{"md5": md5(payload), "relpath": relpath}]).encode()
    name = f"{md5(content)}.dir"
    put(pushed, md5(payload), payload)
    put(pushed, name, content)
    Path("dvc.lock").write_text(Path("dvc.lock").read_text().replace(old, name))
    root = clone(checkout)
    before = everything(root)
    with pytest.raises(StoreError, match="points outside its folder"):
        pull(stages.stored(root))
    assert everything(root) == before and not (root / ONE).exists()


def test_a_list_of_files_cannot_name_a_place_of_the_cache(pushed, clone, checkout):
    """An object's name is a place in the cache and in the store, too."""
    old = locked(ONE)
    content = json.dumps([{"md5": "../../../../victim", "relpath": "a"}]).encode()
    put(pushed, f"{md5(content)}.dir", content)
    Path("dvc.lock").write_text(Path("dvc.lock").read_text().replace(old, f"{md5(content)}.dir"))
    (checkout / "victim").write_text(EVIL)
    root = clone(checkout)
    (root / "victim").unlink()
    with pytest.raises(StoreError, match="points outside its folder"):
        pull(stages.stored(root))
    assert not (root / "victim").exists()


@pytest.mark.parametrize("file", [str(CELLS), f"{ONE}/scores.json"])
def test_what_a_remote_gives_under_another_name_is_thrown_away(pushed, clone, checkout, file):
    """A single file has no manifest that would tell: its cells would name any folder to push."""
    put(pushed, md5(Path(file).read_bytes()), b"{}")
    root = clone(checkout)
    got = pull(stages.stored(root))
    assert len(got.damaged) == 1 and not (root / file).exists() and not got.well


# --- the files of a clone -----------------------------------------------------------------------------------------------


@pytest.fixture
def victim(checkout):
    """A folder beside the project, and one in it that is none of its artifacts."""
    for place in (checkout.parent / "victim", checkout / "thesis"):
        place.mkdir()
        (place / "manifest.json").write_text("mine")
    return checkout.parent / "victim"


def test_dvc_yaml_moves_no_folder_outside_results(pushed, checkout, victim, capsys):
    true = stages.DVC_YAML.read_text()
    for path in ("../victim", str(victim), "thesis", "results/../../victim", "results/../thesis", "results/./thesis", "results", "results/",
                 "results//x", "results/x", "results/experiments", "results/.git", "${vars}", "results/${x}", 7, ["results/x"], "results/a\n../victim"):  # fmt: skip
        data = yaml.safe_load(true)
        data["stages"]["corpora"]["foreach"]["deu_Latn"] = path
        stages.DVC_YAML.write_text(yaml.safe_dump(data))
        for command in (["pull"], ["pull", "--only", "results/x"], ["push"]):
            assert main(command) == 2, path
            assert "no path of an artifact below results/" in capsys.readouterr().err
        assert (victim / "manifest.json").read_text() == "mine" and sorted(victim.iterdir()) == [victim / "manifest.json"]
        assert (checkout / "thesis/manifest.json").read_text() == "mine"


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data["stages"]["corpora"]["do"].update(outs=["../victim"]),
        lambda data: data["stages"]["corpora"]["do"].update(outs=[{"${item}": {"persist": True}}, "../victim"]),
        lambda data: data["stages"]["corpora"]["do"].update(wdir=".."),
        lambda data: data["stages"]["corpora"].update(foreach={"x": "results/corpora/deu_Latn"}),
        lambda data: data.update(vars=["../victim/manifest.json"]),
        lambda data: data["stages"].update(x={"cmd": "touch x", "outs": ["../victim"]}),
    ],
    ids=["output", "outputs", "folder", "name", "variables", "stage"],
)
def test_a_dvc_yaml_of_another_form_is_refused(pushed, checkout, victim, change):
    data = yaml.safe_load(stages.DVC_YAML.read_text())
    change(data)
    stages.DVC_YAML.write_text(yaml.safe_dump(data))
    with pytest.raises(StoreError, match=r"was not written by tokgraft|cannot be read"):
        stages.stored(checkout)
    with pytest.raises(StoreError):
        push(load_cells(CELLS))
    assert sorted(victim.iterdir()) == [victim / "manifest.json"]


@pytest.mark.parametrize("name", ["../victim/manifest.json", "/etc/hostname", "thesis/manifest.json", "results/../thesis/manifest.json"])
def test_snakemake_lock_dates_nothing_outside_results(pushed, checkout, victim, name):
    text, output = records.LOCK.read_text(), layout.manifest(ONE)
    assert text.count(f'"{output}":') == 1
    records.LOCK.write_text(text.replace(f'"{output}":', f'"{name}":'))
    with pytest.raises(StoreError, match=r"snakemake\.lock names"):
        pull(stages.stored(checkout))
    assert (checkout / "thesis/manifest.json").stat().st_mtime > 1e9 < (victim / "manifest.json").stat().st_mtime


def test_a_line_of_another_form_in_snakemake_lock_is_refused(pushed):
    true = records.LOCK.read_text()
    right = [("log", []), ("inputs", []), ("params", []), ("rule", "x"), ("started", 7), ("outputs", {})]
    for key in ("inputs", "log", "outputs", "params", "rule", "started"):
        for value in (None, [], 7, "x", {"a": 1}):
            if (key, value) not in right:
                data = json.loads(true)
                data["jobs"][0][key] = value
                records.LOCK.write_text(json.dumps(data))
                with pytest.raises(StoreError, match=r"is damaged|names"):
                    records.load(Path())


@pytest.mark.parametrize("oid", ["../../victim", "d41d8cd98f00b204e9800998ecf8427e.dir.dir", "D41D8CD98F00B204E9800998ECF8427E"])
def test_dvc_lock_names_objects_only(pushed, clone, checkout, oid):
    Path("dvc.lock").write_text(Path("dvc.lock").read_text().replace(locked(ONE), oid))
    root = clone(checkout)
    with pytest.raises(StoreError, match=r"dvc\.lock has something else"):
        pull(stages.stored(root))


def test_dvc_lock_lists_no_files_itself(pushed, clone, checkout):
    """DVC reads lists of files from dvc.lock, too."""
    data = yaml.safe_load(Path("dvc.lock").read_text())
    data["stages"][stages.stage_name(ONE)]["outs"][0]["files"] = [{"relpath": "../../x", "md5": md5(b""), "size": 0}]
    Path("dvc.lock").write_text(yaml.safe_dump(data))
    root = clone(checkout)
    with pytest.raises(StoreError):
        pull(stages.stored(root))


@pytest.mark.parametrize("link", ["results", "results/scores", "results/scores/pocket/deu_Latn", ONE, ".snakemake"])
def test_nothing_is_written_through_a_link(pushed, clone, checkout, victim, link):
    root = clone(checkout)
    (root / link).parent.mkdir(parents=True, exist_ok=True)
    (root / link).symlink_to(victim, target_is_directory=True)
    with pytest.raises(StoreError, match="is a symbolic link to"):
        pull(stages.Choice(folders=(ONE,)).of(stages.stored(root)))
    assert sorted(victim.iterdir()) == [victim / "manifest.json"] and (victim / "manifest.json").stat().st_mtime > 1e9


@pytest.mark.parametrize("name", ["metrics.json", "dvc.yaml", "dvc.lock", "snakemake.lock"])
def test_a_push_writes_through_no_link(checkout, name):
    target = checkout.parent / "target"
    target.write_text("")
    Path(name).unlink(missing_ok=True)
    Path(name).symlink_to(target)
    with pytest.raises(StoreError, match="is a symbolic link to"):
        push(load_cells(CELLS), send=False)
    assert target.read_text() == ""


@pytest.mark.parametrize("path", ["../victim", "results/../thesis", "thesis"])
def test_a_list_of_cells_pushes_nothing_outside_results(checkout, victim, path):
    """`cells.json` is pulled like everything else."""
    data = json.loads(CELLS.read_text())
    data["cells"][0]["paths"]["corpus"] = path
    CELLS.write_text(json.dumps(data))
    know(checkout)
    before, stored = everything(checkout), sorted(Path(".dvc-store").rglob("*"))
    with pytest.raises(StoreError, match="no path of an artifact"):
        push(load_cells(CELLS))
    assert everything(checkout) == before and sorted(Path(".dvc-store").rglob("*")) == stored


# --- what a pull puts aside ---------------------------------------------------------------------------------------------


def test_a_folder_of_artifacts_is_never_put_aside(pushed, checkout):
    """A commit of another layout may call a folder an artifact that here holds many."""
    data = yaml.safe_load(stages.DVC_YAML.read_text())
    data["stages"]["models"]["foreach"]["pocket"] = "results/models/pocket"
    stages.DVC_YAML.write_text(yaml.safe_dump(data))
    before = artifacts.find(checkout / "results")
    with pytest.raises(StoreError):
        pull(stages.stored(checkout))
    assert artifacts.find(checkout / "results") == before


def test_what_was_put_aside_before_is_kept(pushed, checkout):
    for text in ("first", "second"):
        (Path(ONE) / "notes.txt").write_text(text)
        assert pull(stages.Choice(folders=(ONE,)).of(stages.stored(checkout))).fetched == [ONE]
    assert sorted(path.read_text() for path in Path(ONE).parent.glob(".init.*/notes.txt")) == ["first", "second"]


def test_what_was_put_aside_is_said_last_and_by_verify(pushed, checkout, capsys):
    aside = str(Path(ONE).with_name(".init.damaged"))
    (Path(ONE) / "notes.txt").write_text("mine")
    assert main(["pull", "--only", ONE]) == 0
    out, error = capsys.readouterr()
    summary = json.loads(out)
    assert summary["fetched"] == [ONE] and list(summary["aside"]) == [aside] and "notes.txt: not in the manifest" in summary["aside"][aside]
    assert aside in error.splitlines()[-2] and "take files of yours out of it" in error.splitlines()[-1]
    for folder in ("results", str(Path(ONE).parent)):
        assert main(["verify", folder]) == 0
        note, total = capsys.readouterr().out.splitlines()[-2:]
        assert note.startswith("note: ") and aside in note and "0 problems" in total
    assert main(["pull", "--only", ONE]) == 0
    out, error = capsys.readouterr()
    assert json.loads(out)["aside"] == {} and aside not in error
    Path("alone").mkdir()
    shutil.move(aside, "alone")
    assert main(["verify", "alone"]) == 0, "also where nothing else is left"


def test_what_was_put_aside_is_said_when_the_pull_then_fails(pushed, checkout, caplog):
    (Path(ONE) / "notes.txt").write_text("mine")
    with pytest.raises(StoreError):
        pull(stages.Choice(folders=(ONE,)).of(stages.stored(checkout)), remote="nowhere")
    assert str(Path(ONE).with_name(".init.damaged")) in caplog.messages[-2]


def test_what_is_put_aside_while_a_run_is_prepared_is_in_the_summary(pushed, checkout, monkeypatch, capsys):
    """A pull has several parts; each may put something aside."""
    from tokgraft.store import needed

    monkeypatch.setattr(needed, "changed", lambda *_: set())
    monkeypatch.setattr(needed, "ask", lambda *_: None)
    names = iter([{layout.manifest(ONE)}, set()])
    monkeypatch.setattr(needed, "needed", lambda *_: next(names))
    (Path(ONE) / "notes.txt").write_text("mine")
    assert main(["pull", "--needed"]) == 0
    assert list(json.loads(capsys.readouterr().out)["aside"]) == [str(Path(ONE).with_name(".init.damaged"))]


# --- secrets ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    ["ssh://me:s3cr3t@127.0.0.1:1/x", "ssh://me:s3/cr3t@127.0.0.1:1/x", "http://me:s3cr3t@127.0.0.1:1/x", "http://s3cr3t@127.0.0.1:1/x"],
)
@pytest.mark.parametrize("command", [["pull"], ["push"]])
def test_a_password_of_a_remote_is_never_shown(pushed, clone, checkout, capsys, caplog, url, command):
    root = clone(checkout) if command == ["pull"] else checkout
    (root / ".dvc/config.local").write_text(f"['remote \"local\"']\n    url = {url}\n")
    assert main(command) != 0
    shown = capsys.readouterr()
    text = shown.out + shown.err + caplog.text
    assert len(text) < 4000 and "127.0.0.1" in text and not re.search(r"s3/?cr3t", text), text


def test_an_error_of_the_store_holds_no_password():
    """Also for those who use it from Python, where no command masks what it prints."""
    error = StoreError("dvc: cannot open https://me:s3cr3t@host/x", "check https://s3cr3t@host/x")
    assert "s3cr3t" not in f"{error} {error.what} {error.do} {error.args}"
