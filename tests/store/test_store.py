"""Recording, pushing and pulling of artifacts over a store in a folder."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from tests.store.conftest import GIT, REPOSITORY, call, know, metadata
from tokgraft import artifacts
from tokgraft.cells import load_cells
from tokgraft.cli import main
from tokgraft.config import layout
from tokgraft.errors import ConfigError
from tokgraft.store import StoreError, records, stages
from tokgraft.store.pull import pull
from tokgraft.store.push import push

CELLS = Path(layout.cells("demo"))
ONE = layout.scores("pocket", "deu_Latn", "bpe8k", "mean", 0, "init")
DVC = [str(Path(sys.executable).with_name("dvc"))]


def everything():
    return stages.stored(Path())


def test_what_is_pushed_comes_back_whole_and_known_in_a_fresh_clone(checkout, clone):
    done = push(load_cells(CELLS))
    made = [path.relative_to(checkout).as_posix() for path in artifacts.find(checkout / "results")]
    assert set(made) | {str(CELLS)} == set(done.recorded) and done.files and not done.unknown
    assert set(done.absent) == {layout.tables("demo"), layout.checked("demo")}
    root = clone(checkout)
    tracked = call("git", "ls-files", cwd=root).split()
    assert {"dvc.yaml", "dvc.lock", "snakemake.lock", ".dvc/config"} <= set(tracked)
    assert not [name for name in tracked if name.startswith("results/")]

    got = pull(stages.Choice(folders=(ONE,)).of(everything()))
    assert got.well and got.fetched == [ONE]
    assert [path.relative_to(root).as_posix() for path in artifacts.find(root / "results")] == [ONE]
    got = pull(everything())
    assert got.well and got.here == [ONE] and set(got.fetched) == set(done.recorded) - {ONE}
    for folder in made:
        assert artifacts.verify(root / folder) == []
        assert artifacts.fingerprint(root / folder) == artifacts.fingerprint(checkout / folder)
        output = layout.manifest(folder)
        there, here = records.read_metadata(checkout, output), records.read_metadata(root, output)
        assert {key: here[key] for key in records.KEPT[:8]} == {key: there[key] for key in records.KEPT[:8]}
        assert here["input_checksums"] == there["input_checksums"] and here["sha256"] == artifacts.file_sha256(root / output)


def test_the_lock_file_is_the_same_from_the_same_tree(checkout, clone):
    push(load_cells(CELLS))
    before = {name: Path(name).read_bytes() for name in ("snakemake.lock", "dvc.lock", "dvc.yaml")}
    push(load_cells(CELLS), send=False)
    assert {name: Path(name).read_bytes() for name in before} == before
    clone(checkout)
    pull(everything())
    push(load_cells(CELLS), send=False)
    assert {name: Path(name).read_bytes() for name in before} == before


def test_what_is_not_here_keeps_its_entries(checkout):
    push(load_cells(CELLS))
    before = {name: Path(name).read_bytes() for name in ("snakemake.lock", "dvc.lock", "dvc.yaml")}
    shutil.rmtree(layout.base("pocket"))
    assert layout.base("pocket") in push(load_cells(CELLS)).absent
    assert {name: Path(name).read_bytes() for name in before} == before


def test_another_experiment_adds_and_prune_forgets(checkout):
    cells = load_cells(CELLS)
    push(cells, send=False)
    one = cells.model_copy(update={"cells": cells.cells[:1]})
    push(one, send=False)
    assert stages.stage_name(ONE) in everything()
    done = push(one, send=False, prune=True)
    assert ONE in done.forgotten and stages.stage_name(ONE) not in everything() and layout.manifest(ONE) not in records.load(Path())


@pytest.mark.parametrize("first", ["demo", "other"])
def test_two_experiments_side_by_side_in_any_order(checkout, clone, first):
    """The second one has a corpus of its own, whose path holds a key, and shares the rest."""
    other = Path(layout.cells("other"))
    keyed = layout.corpus(layout.keyed("deu_Latn", {"max_bytes": 7}))
    plain = artifacts.read(Path(layout.corpus("deu_Latn")))
    with artifacts.create(Path(keyed), plain["kind"], {**plain["settings"], "max_bytes": 7}, {}) as out:
        shutil.copy(Path(layout.corpus("deu_Latn"), "card.json"), out)
    listing = json.loads(CELLS.read_text())
    cell = {**listing["cells"][1], "paths": {**listing["cells"][1]["paths"], "corpus": keyed}}
    other.parent.mkdir(parents=True)
    other.write_text(json.dumps({**listing, "experiment": "other", "cells": [cell]}))
    for name, bits in (("demo", 0.5), ("other", 0.7)):
        with artifacts.create(Path(layout.tables(name)), "tables", {}, {}) as out:
            rows = ["model,language,tokenizer,method,recipe,seed,stage,bits_per_byte", f"a,b,c,d,e,0,init,{bits}"]
            (out / "leaderboard.csv").write_text("\n".join(rows) + "\n")
    know(checkout)
    records.write_metadata(checkout, str(other), metadata(checkout, str(other), ["stage.py"]))
    order = sorted(["demo", "other"], key=lambda name: name != first)
    pushed = {name: push(load_cells(Path(layout.cells(name)))) for name in order}
    assert keyed in pushed["other"].recorded and keyed not in pushed["demo"].recorded
    assert set(everything().values()) == {*pushed["demo"].recorded, *pushed["other"].recorded}
    shown = json.loads(Path("metrics.json").read_text())
    assert {name: shown[name]["a/b/c/d/e/0"]["init"]["bits_per_byte"] for name in shown} == {"demo": 0.5, "other": 0.7}
    before = {name: Path(name).read_bytes() for name in ("snakemake.lock", "dvc.lock", "dvc.yaml", "metrics.json")}
    for name in order[::-1]:
        push(load_cells(Path(layout.cells(name))), send=False)
    assert {name: Path(name).read_bytes() for name in before} == before, "what the other one pushed stays as it is"

    root = clone(checkout)
    got = pull(stages.Choice(language=("deu_Latn",), kind=("corpora",)).of(everything()))
    assert sorted(got.fetched) == sorted([keyed, layout.corpus("deu_Latn")])
    got = pull(everything())
    assert got.well and {str(CELLS), str(other)} <= set(got.fetched)
    assert not [problem for folder in artifacts.find(root / "results") for problem in artifacts.verify(folder)]


def test_half_an_artifact_is_refused(checkout):
    (Path(layout.corpus("deu_Latn")) / "card.json").unlink()
    with pytest.raises(StoreError, match=r"card\.json is missing"):
        push(load_cells(CELLS))
    (Path(layout.corpus("deu_Latn")) / "manifest.json").unlink()
    with pytest.raises(StoreError, match="not a whole artifact"):
        push(load_cells(CELLS))
    assert not Path("dvc.lock").exists()


def test_a_damaged_artifact_does_not_reach_the_store(checkout):
    file = Path(ONE) / "scores.json"
    file.write_bytes(file.read_bytes()[::-1])
    with pytest.raises(StoreError, match="content altered"):
        push(load_cells(CELLS))
    assert not Path("dvc.lock").exists()


def test_an_artifact_made_from_other_inputs_than_recorded_does_not_reach_the_store(checkout):
    output = layout.manifest(ONE)
    metadata = records.read_metadata(Path(), output)
    model = layout.manifest(layout.adapted("pocket", "deu_Latn", "bpe8k", "mean", 0, "init"))
    metadata["input_checksums"][model] = "sha256:" + "0" * 64
    records.write_metadata(Path(), output, metadata)
    with pytest.raises(StoreError, match="other inputs"):
        push(load_cells(CELLS))


def test_what_snakemake_does_not_know_is_not_stored(checkout, capsys):
    records.metadata_path(Path(), layout.manifest(ONE)).unlink()
    assert main(["push", "--record-only"]) == 1
    assert json.loads(capsys.readouterr().out)["unknown"] == [ONE]
    assert stages.stage_name(ONE) not in everything()


def test_a_damaged_object_of_the_store_is_put_aside_and_can_be_mended(checkout, clone, caplog):
    push(load_cells(CELLS))
    file = Path(ONE) / "scores.json"
    digest = call("md5sum", str(file), cwd=checkout).split()[0]
    objects = checkout / ".dvc-store/files/md5" / digest[:2] / digest[2:]
    good = objects.read_bytes()
    objects.chmod(0o644)
    objects.write_bytes(good[:-1] + b"!")
    root = clone(checkout)
    got = pull(everything())
    assert not got.well and list(got.damaged) == [ONE] and not (root / ONE).exists()
    assert f"files/md5/{digest[:2]}/{digest[2:]}" in caplog.text and "push again" in caplog.text
    assert records.read_metadata(root, layout.manifest(ONE)) is not None  # absent, and known
    objects.write_bytes(good)
    assert pull(everything()).fetched == [ONE] and artifacts.verify(root / ONE) == []


@pytest.mark.parametrize("part", ["scores.json", "manifest.json", ""])
def test_a_truncated_pull_keeps_what_is_whole_and_says_what_is_missing(checkout, clone, caplog, part):
    push(load_cells(CELLS))
    if part:
        digest = call("md5sum", f"{ONE}/{part}", cwd=checkout).split()[0]
    else:  # the list of the folder's files
        digest = yaml.safe_load(Path("dvc.lock").read_text())["stages"][stages.stage_name(ONE)]["outs"][0]["md5"]
    (checkout / ".dvc-store/files/md5" / digest[:2] / digest[2:]).unlink()
    root = clone(checkout)
    got = pull(everything())
    assert not got.well and got.missing == [ONE] and not (root / ONE).exists()
    assert ONE in caplog.text and "pull again" in caplog.text
    assert len(got.fetched) == len(everything()) - 1


def test_a_store_that_is_not_there(checkout, clone):
    push(load_cells(CELLS))
    root = clone(checkout)
    (root / ".dvc/config.local").write_text("")
    got = pull(everything())
    assert not got.well and len(got.missing) == len(everything())
    call(*DVC, "config", "--quiet", "core.remote", "nowhere", cwd=root)
    with pytest.raises(StoreError, match="nowhere"):
        pull(everything())


def test_a_damaged_artifact_here_is_replaced(checkout, clone):
    push(load_cells(CELLS))
    root = clone(checkout)
    pull(everything())
    (root / ONE / "scores.json").unlink()
    (root / ONE / "scores.json").write_text("{}")
    got = pull(everything())
    assert got.well and got.fetched == [ONE] and artifacts.verify(root / ONE) == []
    assert (root / ONE).with_name(".init.damaged").is_dir()


def test_what_is_damaged_in_the_cache_alone_is_fetched_again(checkout, clone, caplog):
    """An edit of a hard link is an edit of the object in the cache; the store is whole."""
    push(load_cells(CELLS))
    root = clone(checkout)
    pull(everything())
    file = root / ONE / "scores.json"
    assert file.stat().st_nlink > 1, "the cache links its files"
    file.chmod(0o644)
    with file.open("a") as handle:
        handle.write(" ")
    caplog.clear()
    got = pull(everything())
    assert got.well and got.fetched == [ONE] and artifacts.verify(root / ONE) == []
    assert "delete these in the remote" not in caplog.text and "in the store" not in caplog.text
    assert "damaged in the cache here" in caplog.text


@pytest.mark.parametrize("store", ["damaged", "gone"])
def test_what_is_damaged_in_the_cache_and_not_whole_in_the_store_says_which_is_which(checkout, clone, store):
    push(load_cells(CELLS))
    root = clone(checkout)
    pull(everything())
    digest = call("md5sum", f"{ONE}/scores.json", cwd=root).split()[0]
    for place in (root / ".dvc/cache/files/md5", checkout / ".dvc-store/files/md5"):
        (place / digest[:2] / digest[2:]).chmod(0o644)
        (place / digest[:2] / digest[2:]).write_text("{}")
    if store == "gone":
        (checkout / ".dvc-store/files/md5" / digest[:2] / digest[2:]).unlink()
    shutil.rmtree(root / ONE)
    got = pull(everything())
    assert not got.well and (list(got.damaged), got.missing) == (([ONE], []) if store == "damaged" else ([], [ONE]))


def remake(folder: str, **facts: object) -> None:
    """Another version of an artifact, whole in itself."""
    old = artifacts.read(Path(folder))
    content = (Path(folder) / "scores.json").read_text()
    with artifacts.create(Path(folder), old["kind"], {**old["settings"], **facts}, {}) as out:
        (out / "scores.json").write_text(content)


def test_own_work_that_is_stored_nowhere_is_kept(checkout, clone, caplog):
    push(load_cells(CELLS))
    root = clone(checkout)
    pull(everything())
    remake(ONE, mine=1)
    know(root)
    mine = artifacts.fingerprint(root / ONE)
    got = pull(everything())
    assert got.kept == [ONE] and got.well and artifacts.fingerprint(root / ONE) == mine
    assert "kept" in caplog.text and records.read_metadata(root, layout.manifest(ONE))["sha256"] == mine


def test_other_content_without_a_record_is_never_trusted(checkout, clone):
    push(load_cells(CELLS))
    root = clone(checkout)
    pull(everything())
    remake(ONE, stale=1)  # nothing tells Snakemake; the record is that of the stored version
    got = pull(everything())
    assert got.untrusted == [ONE] and not got.well
    assert records.read_metadata(root, layout.manifest(ONE)) is None
    assert (root / layout.manifest(ONE)).stat().st_mtime == 1


def test_a_newer_version_replaces_a_recorded_one(checkout, clone):
    push(load_cells(CELLS))
    root = clone(checkout)
    pull(everything())
    old = artifacts.fingerprint(root / ONE)
    os.chdir(checkout)
    remake(ONE, newer=1)
    know(checkout)
    push(load_cells(CELLS))
    call(*GIT, "commit", "-qam", "newer", cwd=checkout)
    call("git", "pull", "-q", cwd=root)
    os.chdir(root)
    got = pull(everything())
    assert got.well and got.fetched == [ONE] and artifacts.fingerprint(root / ONE) != old
    assert records.read_metadata(root, layout.manifest(ONE))["sha256"] == artifacts.fingerprint(root / ONE)


def test_inputs_are_dated_after_what_is_made_from_them_and_before_any_source(checkout, clone):
    push(load_cells(CELLS))
    root = clone(checkout)
    pull(everything())
    for output, record in records.load(root).items():
        for name in record.inputs:
            assert (root / name).stat().st_mtime > (root / output).stat().st_mtime


@pytest.mark.parametrize("command", [["push"], ["pull"]])
def test_nothing_is_pushed_or_pulled_while_a_run_is_going_on(checkout, command, capsys):
    push(load_cells(CELLS))
    locks = Path(".snakemake/locks")
    (locks / "0.input.lock").write_text("results/experiments/demo/cells.json\n")
    assert main(command) == 2
    message = capsys.readouterr().err
    assert "run of snakemake" in message and "snakemake --unlock" in message
    (locks / "0.input.lock").unlink()
    assert main([*command, "--jobs", "2"]) == 0
    assert list(locks.iterdir()) == []


def test_choices(checkout):
    push(load_cells(CELLS), send=False)
    stored = everything()
    kinds = {name.partition("@")[0] for name in stored}
    assert kinds == {"corpora", "lists", "models", "scores", "speed", "tokenizers"}
    assert set(stages.Choice(kind=("scores",), method=("mean",)).of(stored).values()) == {
        layout.scores("pocket", "deu_Latn", "bpe8k", "mean", 0, stage) for stage in ("init", "pocket-demo")
    }
    assert layout.base("pocket") in stages.Choice(model=("pocket",)).of(stored).values()
    assert layout.base("pocket") not in stages.Choice(language=("deu_Latn",)).of(stored).values()
    with pytest.raises(ConfigError, match="unknown method 'maen'") as error:
        stages.Choice(method=("maen",)).of(stored)
    assert "mean" in error.value.do
    with pytest.raises(ConfigError, match="unknown artifact"):
        stages.Choice(folders=("results/nothing",)).of(stored)


def test_every_kind_of_artifact_can_be_chosen_and_a_wrong_one_is_named(checkout, capsys):
    """The help, the message and the choice know the kinds from one place; none needs a dvc.yaml to say so."""
    made = [
        layout.corpus("x"), layout.shard("x", 0), layout.tokenizer("m", "x", "t"), layout.evaluation("m", "x", "t"), layout.resource("r", "m", "x", "t"),
        layout.base("m"), layout.scores("m", "x", "t", "mean", 0, "init"), layout.speed("m", "x", "t"), layout.tables("e"), layout.cells("e"),
    ]  # fmt: skip
    assert {stages.stage_name(path).partition("@")[0] for path in made} == set(layout.KINDS)
    assert main(["pull", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert ", ".join(layout.KINDS) in shown
    stages.DVC_YAML.unlink(missing_ok=True)
    assert main(["pull", "--stage", "speeed"]) == 2
    said = capsys.readouterr().err
    assert "unknown stage 'speeed'" in said and "did you mean speed?" in said
    assert main(["pull", "--stage", "speed"]) == 2
    said = capsys.readouterr().err
    assert "there is no dvc.yaml here: nothing is stored" in said and "known: none" not in said
    push(load_cells(CELLS), send=False)
    with pytest.raises(ConfigError, match=r"unknown stage 'shards' in dvc.yaml"):
        stages.Choice(kind=("shards",)).of(everything())


def test_outside_a_checkout_and_before_a_push(checkout, capsys):
    assert main(["pull"]) == 2
    assert "make push" in capsys.readouterr().err
    shutil.rmtree(".dvc")
    assert main(["push"]) == 2
    assert "no .dvc folder" in capsys.readouterr().err


def test_damaged_lock_files_are_named(checkout):
    push(load_cells(CELLS), send=False)
    records.LOCK.write_text("<<<<<<< HEAD\n")
    with pytest.raises(StoreError, match=r"snakemake\.lock is damaged"):
        pull({})
    stages.DVC_YAML.write_text("stages: [")
    with pytest.raises(StoreError, match=r"dvc\.yaml cannot be read"):
        everything()


def test_a_long_output_name_is_found_again(tmp_path):
    name = "results/models/" + "/".join(["a-very-long-part-of-a-name"] * 12) + "/manifest.json"
    (tmp_path / name).parent.mkdir(parents=True)
    records.write_metadata(tmp_path, name, {"rule": "x"})
    assert len(records.metadata_path(tmp_path, name).relative_to(tmp_path / records.METADATA).parts) > 1
    assert records.outputs(tmp_path) == [name] and records.read_metadata(tmp_path, name) == {"rule": "x"}


def test_a_newcomer_finds_no_pointer_that_cannot_be_pulled(checkout):
    assert not {"dvc.lock", "snakemake.lock", "metrics.json"} & set(call("git", "ls-files", cwd=REPOSITORY).split())
    shutil.copy(REPOSITORY / "dvc.yaml", "dvc.yaml")
    assert "up to date" in call(*DVC, "pull", cwd=checkout)
