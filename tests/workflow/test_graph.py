"""The graph: every experiment plans, and adding a thing costs one file."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from tests.workflow.conftest import ROOT, Project
from tokgraft.cells import _MADE_FROM
from tokgraft.config import layout
from tokgraft.matrix import load_matrix
from tokgraft.places import Places
from tokgraft.stages import SHARED, STAGES, Job, Stage

EXPERIMENTS = sorted(path.name for path in (ROOT / "config" / "experiments").glob("*.yaml"))
GRID: dict[str, Any] = {
    "models": ["pocket"],
    "languages": ["deu_Latn"],
    "tokenizers": ["bpe8k"],
    "methods": ["none", "mean", "focus"],
    "recipes": ["pocket-demo"],
    "tasks": ["bpb"],
}
FIXED = {"all": 1, "report_cells": 1, "report_build": 1, "report_check": 1, "publish_mlflow": 1}


def config_of(*grids: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": "trial", "grids": list(grids), **more}


def plan(project: Project, *grids: dict[str, Any], **more: Any) -> Counter[str]:
    project.write("config/experiments/trial.yaml", config_of(*grids, **more))
    return project.plan("--configfile", "config/experiments/trial.yaml")


def load(place: str) -> Any:
    return yaml.safe_load((ROOT / place).read_text())


def test_the_default_experiment_is_the_main_job(project: Project) -> None:
    found = project.plan()
    assert found == {
        **FIXED,
        "corpus_build": 3,
        "tokenizer_train": 7,  # pocket's own, then new and original for pocket x 2 languages and smollm2 x 1
        "model_fetch": 1,
        "model_create": 1,
        "model_pretrain": 1,
        "resource_build": 2,
        "transplant_apply": 13,
        "train_continue": 13,
        "score_model": 26,
        "speed_measure": 3,
    }


def test_speed_is_measured_once_for_all_methods_and_recipes_of_a_vocabulary(project: Project) -> None:
    assert plan(project, GRID)["speed_measure"] == 1
    assert plan(project, GRID | {"methods": ["none", "random"], "seeds": [0, 1]})["speed_measure"] == 1
    assert plan(project, GRID | {"languages": ["deu_Latn", "ell_Grek"]})["speed_measure"] == 2
    assert plan(project, GRID | {"methods": ["none"]})["speed_measure"] == 0, "the control keeps the original vocabulary"
    assert plan(project, GRID, speed=False)["speed_measure"] == 0


def test_nothing_of_a_run_is_beside_a_measurement_of_speed(project: Project) -> None:
    project.write("config/experiments/trial.yaml", config_of(GRID))
    flags = ("--dry-run", "--configfile", "config/experiments/trial.yaml", "--printshellcmds")
    for cores in ("1", "5"):
        said = project.snakemake(*flags, "--cores", cores).stdout
        assert re.search(rf"tokgraft speed .*--threads {cores} ", said), "it takes every core of the run"


def test_evaluations_are_made_when_wanted(project: Project) -> None:
    """Every tokenizer of the matrix, by a key of the experiment or by the target; not otherwise."""
    before = plan(project, GRID)
    after = plan(project, GRID, tokenizer_evaluation={"frequent_words": 200})
    assert after - before == {"tokenizer_evaluate": 2} and before - after == Counter()  # bpe8k, and the control's original
    plan(project, GRID)
    asked = project.plan("--cores", "1", "tokenizer_evaluate_all", "--configfile", "config/experiments/trial.yaml")
    assert asked["tokenizer_evaluate"] == 2 and asked["score_model"] == asked["transplant_apply"] == 0


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_plans(name: str, project: Project) -> None:
    found = project.plan("--configfile", f"config/experiments/{name}")
    assert found["score_model"] == found["transplant_apply"] + found["train_continue"] > 0


def test_a_method_is_one_file(project: Project) -> None:
    before = plan(project, GRID)
    mean = (ROOT / "src/tokgraft/methods/mean.py").read_text()
    project.write(
        "src/tokgraft/methods/dummy.py",
        mean.replace('@method(\n    "mean"', '@method(\n    "dummy"').replace('@method("mean"', '@method("dummy"'),
    )
    after = plan(project, {**GRID, "methods": [*GRID["methods"], "dummy"]})
    assert after - before == {"transplant_apply": 1, "train_continue": 1, "score_model": 2}
    assert before - after == Counter()


def test_a_resource_is_made_once_for_all_that_it_does_not_depend_on(project: Project) -> None:
    """Word vectors and dictionaries know neither base nor tokenizer."""
    grid = {**GRID, "models": ["pocket", "smollm2-135m"], "methods": ["wechsel"], "tokenizers": ["bpe8k", "bpe4k"], "recipes": ["init"]}
    found = plan(project, grid)
    assert (found["transplant_apply"], found["resource_build"]) == (4, 2)


def test_a_grid_runs_each_method_with_each_refiner(project: Project) -> None:
    grid = {**GRID, "methods": ["mean", "focus"], "recipes": ["init"], "tokenizers": ["bpe8k"]}
    found = plan(project, {**grid, "refiners": ["plain", "prior", "prior+readout"]})
    chains = [first + rest for first in ("mean", "focus") for rest in ("", "+prior", "+prior+readout")]
    assert found == plan(project, {**grid, "methods": chains})
    assert found["transplant_apply"] == 6


def test_a_refiner_brings_its_text_and_so_does_its_control(project: Project) -> None:
    """The control of a refiner keeps the base's own tokenizer: its text is cut by the recipe `original`."""
    found = plan(project, {**GRID, "methods": ["mean+prior", "none+prior"], "tokenizers": ["bpe8k", "bpe4k"]})
    assert (found["resource_build"], found["transplant_apply"], found["tokenizer_train"]) == (3, 3, 4)
    listed = project.snakemake("--dry-run", "--printshellcmds", "--configfile", "config/experiments/trial.yaml").stdout
    text = "results/resources/target_text/pocket/deu_Latn/original"
    assert f"--resource target_text={text}" in listed
    assert f"--tokenizer results/tokenizers/pocket/deu_Latn/original --settings {{}} --or-skip --out {text}" in listed.replace("'", "")


def test_a_language_is_one_file(project: Project) -> None:
    before = plan(project, GRID)
    project.write("config/languages/xxx_Latn.yaml", {**load("config/languages/deu_Latn.yaml"), "name": "Dummy"})
    after = plan(project, {**GRID, "languages": ["deu_Latn", "xxx_Latn"]})
    assert after - before == {
        "corpus_build": 1,
        "tokenizer_train": 2,
        "resource_build": 1,
        "transplant_apply": 3,
        "train_continue": 3,
        "score_model": 6,
        "speed_measure": 1,
    }


def test_a_model_is_one_file(project: Project) -> None:
    before = plan(project, GRID)
    project.write("config/models/dummy.yaml", {"name": "Dummy", "source": {"kind": "local", "path": "my/model"}})
    after = plan(project, {**GRID, "models": ["pocket", "dummy"]})
    assert after - before == {
        "model_fetch": 1,
        "tokenizer_train": 2,
        "resource_build": 1,
        "transplant_apply": 3,
        "train_continue": 3,
        "score_model": 6,
        "speed_measure": 1,
    }


def test_a_tokenizer_recipe_is_one_file(project: Project) -> None:
    before = plan(project, GRID)
    project.write("config/tokenizers/dummy.yaml", load("config/tokenizers/bpe8k.yaml"))
    after = plan(project, {**GRID, "tokenizers": ["bpe8k", "dummy"]})
    assert after - before == {
        "tokenizer_train": 1,
        "resource_build": 1,
        "transplant_apply": 2,
        "train_continue": 2,
        "score_model": 4,
        "speed_measure": 1,
    }


def test_a_training_recipe_is_one_file(project: Project) -> None:
    before = plan(project, GRID)
    project.write("config/recipes/dummy.yaml", load("config/recipes/pocket-demo.yaml"))
    after = plan(project, {**GRID, "recipes": ["pocket-demo", "dummy"]})
    assert after - before == {"train_continue": 3, "score_model": 3}


def test_a_task_is_one_file(project: Project) -> None:
    before = plan(project, GRID)
    project.write("config/tasks/dummy.yaml", load("config/tasks/bpb.yaml"))
    after = plan(project, {**GRID, "tasks": ["bpb", "dummy"]})
    assert after == before, "a task is a setting of the scoring jobs, not a job"


def test_a_zero_shot_cell_is_scored_and_not_trained(project: Project) -> None:
    found = plan(project, {**GRID, "recipes": ["init"]})
    assert (found["transplant_apply"], found["score_model"], found["train_continue"]) == (3, 3, 0)
    both = plan(project, {**GRID, "recipes": ["init", "pocket-demo"]})
    assert (both["transplant_apply"], both["score_model"], both["train_continue"]) == (3, 6, 3)


def test_a_variant_of_a_resource_is_built_beside_the_plain_one(project: Project) -> None:
    grid = {**GRID, "methods": ["focus", "focus-wide"], "recipes": ["init"]}
    wide = {"method": "focus", "resources": {"token_vectors": "wide_vectors"}}
    entry = {"resource": "token_vectors", "params": {"dim": 300}}
    found = plan(project, grid, methods={"focus-wide": wide}, resources={"wide_vectors": entry})
    assert (found["resource_build"], found["transplant_apply"]) == (2, 2)
    listed = project.snakemake("--dry-run", "--printshellcmds", "--configfile", "config/experiments/trial.yaml").stdout
    wide = Places(load_matrix(str(project.root / "config/experiments/trial.yaml"))).resource("wide_vectors", "pocket", "deu_Latn", "bpe8k")
    assert re.fullmatch(r"results/resources/wide_vectors~[0-9a-f]{8}/pocket/deu_Latn/bpe8k", wide)
    listed = listed.replace("'", "")
    assert "--name token_vectors" in listed and f"--out {wide}" in listed and f"--resource token_vectors={wide}" in listed


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"token_vectors": "widevectors"}, "did you mean wide_vectors"),
        ({"vectors": "wide_vectors"}, "requires no such resource"),
    ],
)
def test_a_wrong_variant_of_a_resource_stops_before_the_graph(project: Project, entry: dict[str, str], message: str) -> None:
    named = {"focus": {"resources": entry}}
    resources = {"wide_vectors": {"resource": "token_vectors", "params": {"dim": 300}}}
    project.write("config/experiments/trial.yaml", config_of(GRID, methods=named, resources=resources))
    done = project.snakemake("--dry-run", "--configfile", "config/experiments/trial.yaml", check=False)
    assert done.returncode != 0 and message in done.stdout + done.stderr


def test_overrides_of_rows_are_in_the_path_and_on_the_command_line(project: Project) -> None:
    grid = {**GRID, "methods": ["mean", "mean-end", "mean-end+prior", "mean-zero"], "recipes": ["init"]}
    ends = {"</s>": "like:<|end|>", "--a b=": "text:it's {done}"}
    named = {"mean-end": {"method": "mean", "overrides": ends}, "mean-zero": {"method": "mean", "overrides": {"</s>": "zero"}}}
    assert plan(project, grid, methods=named)["transplant_apply"] == 4
    listed = project.snakemake("--dry-run", "--printshellcmds", "--configfile", "config/experiments/trial.yaml").stdout
    at = Places(load_matrix(str(project.root / "config/experiments/trial.yaml"))).method
    expected = {"mean": [], "mean-zero": ["</s>=zero"], "mean-end": ["--a b==text:it's {done}", "</s>=like:<|end|>"]}
    expected["mean-end+prior"] = expected["mean-end"]
    for name, given in expected.items():
        (command,) = [line for line in listed.splitlines() if "tokgraft transplant" in line and f"/{at(name)}/" in line]
        words = shlex.split(command)
        assert [word.removeprefix("--override=") for word in words if word.startswith("--override")] == given
    assert len({at(name).partition("~")[2] for name in expected}) == 4 and at("mean") == "mean"


def test_an_override_that_cannot_be_read_stops_before_the_graph(project: Project) -> None:
    project.write("config/experiments/trial.yaml", config_of(GRID, methods={"mean": {"overrides": {"</s>": "like"}}}))
    done = project.snakemake("--dry-run", "--configfile", "config/experiments/trial.yaml", check=False)
    assert done.returncode != 0 and "methods.mean.overrides: the override of '</s>' is 'like'" in done.stdout + done.stderr


def test_an_experiment_is_one_file(project: Project) -> None:
    assert plan(project, {**GRID, "methods": ["mean"]})["train_continue"] == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"methods": ["focsu"]}, "did you mean focus"),
        ({"languages": ["deu_Lat"]}, "did you mean deu_Latn"),
        ({"models": ["smollm"]}, "did you mean smollm2-135m"),
    ],
)
def test_a_wrong_name_stops_before_the_graph(project: Project, change: dict[str, Any], message: str) -> None:
    project.write("config/experiments/trial.yaml", config_of({**GRID, **change}))
    done = project.snakemake("--dry-run", "--configfile", "config/experiments/trial.yaml", check=False)
    assert done.returncode != 0
    assert message in done.stdout + done.stderr


def test_no_shared_file_lists_methods() -> None:
    """One file a method: no other module may name one."""
    names = [path.stem for path in (ROOT / "src/tokgraft/methods").glob("[a-z]*.py") if path.stem not in {"none", "random", "mean"}]
    # The stages of corpora and tokenizers have words of their own ("align", "script") and cannot import methods.
    apart = {"methods", "corpus", "tokenizers", "trainers"}
    sources = [path for path in (ROOT / "src/tokgraft").rglob("*.py") if path.parent.name not in apart and path.name != "tokenizer.py"]
    for name in names:
        for path in [*sources, *(ROOT / "workflow").rglob("*.smk")]:
            code = "\n".join(line for line in Path(path).read_text().splitlines() if "tokgraft transplant" not in line)
            assert f'"{name}"' not in code, f"{path} names the method {name}"


def test_a_users_own_files_are_inputs(project: Project) -> None:
    """Editing a text or replacing weights must not go unnoticed."""
    project.write("texts/a.txt", "A text of one's own.")
    project.write("my/model/config.json", "{}")
    language = {**load("config/languages/deu_Latn.yaml"), "sources": [{"kind": "local", "path": "texts"}]}
    project.write("config/languages/xxx_Latn.yaml", language)
    project.write("config/models/dummy.yaml", {"name": "Dummy", "source": {"kind": "local", "path": "my/model"}})
    project.write("config/experiments/trial.yaml", config_of({**GRID, "languages": ["xxx_Latn"], "models": ["dummy"]}))
    code = (
        "import types; from tokgraft.workflow import Workflow\n"
        "w = Workflow('config/experiments/trial.yaml')\n"
        "language, model = types.SimpleNamespace(language='xxx_Latn'), types.SimpleNamespace(model='dummy')\n"
        "print(*(w.inputs(stage)(language)['texts'] for stage in ('shard', 'corpus')), w.inputs('model')(model)['files'])"
    )
    assert project.run(sys.executable, "-c", code).stdout.strip() == "['texts/a.txt'] ['texts/a.txt'] ['my/model/config.json']"
    rules = "".join(path.read_text() for path in (ROOT / "workflow/rules").glob("*.smk"))
    assert all(f'unpack(EXPERIMENT.inputs("{stage}"))' in rules for stage in ("shard", "corpus", "model"))


def test_a_text_dated_in_the_future_stops_the_run_before_its_first_job(project: Project) -> None:
    project.write("texts/a.txt", "A text of one's own.\n" * 50)
    os.utime(project.root / "texts/a.txt", (4e9, 4e9))
    project.write(
        "config/languages/eng_Latn.yaml", {**load("config/languages/eng_Latn.yaml"), "sources": [{"kind": "local", "path": "texts"}]}
    )
    project.write("config/experiments/trial.yaml", config_of(GRID))
    corpus = Places(load_matrix(str(project.root / "config/experiments/trial.yaml"), project.root / "config")).corpus("eng_Latn")
    done = project.snakemake("--cores", "1", f"{corpus}/manifest.json", "--configfile", "config/experiments/trial.yaml", check=False)
    assert done.returncode == 1
    assert "texts/a.txt: dated in the future (2096-" in done.stderr and "touch texts/a.txt" in done.stderr
    assert "started" not in done.stdout + done.stderr and not (project.root / corpus).exists()


def test_the_default_experiment_does_not_leak_into_another(project: Project) -> None:
    """A file without a name or a description takes neither from config/config.yaml, and a key of the default stays there."""
    project.write("config/config.yaml", {**load("config/config.yaml"), "max_corpus_bytes": 1000, "refiners": {"readout": {"states": 5}}})
    project.write("config/experiments/trial.yaml", config_of(GRID))
    listed = project.run("tokgraft", "list", "cells", "--settings", "config/experiments/trial.yaml").stdout
    shown = project.snakemake("--dry-run", "--printshellcmds", "--configfile", "config/experiments/trial.yaml").stdout
    assert "~" not in json.loads(listed)["cells"][0]["paths"]["corpus"] and json.loads(listed)["description"] == ""
    words = shlex.split(next(line for line in shown.splitlines() if "list cells" in line))
    settings = json.loads(words[words.index("--settings") + 1])
    assert (settings["name"], settings["description"], settings["max_corpus_bytes"], settings["refiners"]) == ("trial", "", None, {})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"grids": [GRID]}, "name: Field required"),
        ({"name": "demo", "grids": [GRID]}, "both have `name: demo`"),
        ({"name": "trial", "grids": [{**GRID, "methods": ["mean"]}], "methods": {"multivariate": {}}}, "no grid uses it"),
        ({"name": "trial", "grids": [GRID], "methods": {"mean": {"params": {"alpha": 1}}}}, "unknown key"),
        ({"name": "trial", "grids": [GRID], "resources": {"token_vectors": {"params": {"dims": 1}}}}, "dim"),
        ("name: trial\nname: again\n", "name"),
        ("name: [", "YAML"),
    ],
)
def test_snakemake_and_list_cells_refuse_the_same_files(project: Project, data: Any, message: str) -> None:
    project.write("config/experiments/trial.yaml", data)
    planned = project.snakemake("--dry-run", "--configfile", "config/experiments/trial.yaml", check=False)
    listed = project.run("tokgraft", "list", "cells", "--settings", "config/experiments/trial.yaml", check=False)
    assert planned.returncode != 0 and listed.returncode == 2
    assert message in listed.stderr
    assert message in planned.stdout + planned.stderr or "YAML" in planned.stdout + planned.stderr


def test_an_experiment_is_one_file_and_no_flag_changes_it(project: Project) -> None:
    changed = project.snakemake("--dry-run", "--config", "max_corpus_bytes=1000", check=False)
    assert changed.returncode != 0 and "--config would change max_corpus_bytes" in changed.stdout + changed.stderr
    both = ("config/experiments/smoke.yaml", "config/config.yaml")
    several = project.snakemake("--dry-run", "--configfile", *both, check=False)
    assert several.returncode != 0 and "--configfile names 2" in several.stdout + several.stderr


def test_what_an_experiment_changes_is_in_the_path(project: Project) -> None:
    """And what it does not change is shared: nothing lies in one place with two contents."""
    variants: dict[str, dict[str, Any]] = {
        "plain": {},
        "short": {"max_corpus_bytes": 1000},
        "split": {"splits": {"test": 0.2}},
        "weak": {"resources": {"token_vectors": {"params": {"dim": 7}}}},
        "fuzzy": {"methods": {"focus": {"params": {"fuzzy_match_all": True}}}},
        "tasks": {"grids": [{**GRID, "tasks": ["bpb", "heading"]}]},
        "cards": {"tokenizer_evaluation": {"frequent_words": 300}},
    }
    found: dict[str, dict[str, dict[str, str]]] = {}
    for name, more in variants.items():
        project.write(f"config/experiments/{name}.yaml", {"name": name, "grids": [GRID], **more})
        places = Places(load_matrix(str(project.root / f"config/experiments/{name}.yaml"), project.root / "config"))
        found[name] = {cell.method: {**places.cell(cell), "tables": layout.tables(name)} for cell in places.matrix.cells}

    def moved(name: str, method: str) -> set[str]:
        return {role for role, folder in found[name][method].items() if folder != found["plain"][method][role]}

    all_made = {"corpus", "english", "base", "tokenizer", "evaluation", "init", "trained", "score_init", "score_trained", "speed", "tables"}
    assert moved("short", "mean") == moved("split", "mean") == all_made
    assert len({found[name]["mean"]["corpus"] for name in ("plain", "short", "split")}) == 3
    adapted = {"init", "trained", "score_init", "score_trained", "tables"}
    assert moved("weak", "focus") == moved("fuzzy", "focus") == adapted and moved("weak", "mean") == moved("fuzzy", "mean") == {"tables"}
    assert moved("tasks", "mean") == {"score_init", "score_trained", "tables"}
    assert moved("cards", "mean") == {"evaluation", "tables"}
    for name, cells in found.items():
        folders = [folder for cell in cells.values() for role, folder in cell.items() if role.startswith(("init", "trained", "score"))]
        assert len(folders) == len(set(folders)), name


def test_what_makes_a_cells_artifact_stale_is_what_its_stage_reads() -> None:
    """Reports know a cell's artifacts without the code that makes them (`tokgraft.cells`); the records of the stages have the last word."""
    makers = {"init": "transplant", "trained": "train", "score_init": "score", "score_trained": "score"}
    places = Places(load_matrix(str(ROOT / "config/config.yaml"), ROOT / "config"))
    for cell in places.matrix.cells:
        folders = places.cell(cell)
        for role, inputs in _MADE_FROM.items():
            if role not in folders:
                continue
            stage = layout.INIT if role == "score_init" else cell.recipe
            reads = STAGES[makers.get(role, role)].reads
            assert reads is not None
            read = reads(Job(places, SimpleNamespace(**vars(cell), stage=stage)))
            shared = {name: folder for name, folder in read.items() if not name.startswith(("learn_", "resource_"))}
            assert shared == {name: folders[part] for name, part in inputs.items() if name in read}, (cell, role)
            assert inputs.keys() - read.keys() <= {"base"}, "a tokenizer that a base is built on has no base"


@pytest.mark.parametrize("stage", SHARED, ids=lambda stage: stage.name)
def test_the_folder_of_a_stage_says_what_its_wildcards_are(stage: Stage) -> None:
    """Stores choose artifacts by the facts in their folders."""
    wildcards = dict.fromkeys(re.findall(r"{(\w+)}", stage.output))
    facts = layout.facts(stage.output.removesuffix("/manifest.json"))
    assert facts.pop("kind") in layout.KINDS
    for name in wildcards.keys() - {"shard", "recipe"}:
        assert facts[name].endswith(f"{{{name}}}")
