"""What makes a job run again: the source files that are declared for it are those that a real run loads, and few others."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

import toys
import toytasks
from tests.workflow.conftest import ROOT, copy_project
from tokgraft import artifacts, methods, resources, sources
from tokgraft.config.base import slugs
from tokgraft.corpus.sources import SOURCES
from tokgraft.methods import METHODS, REFINERS
from tokgraft.models.io import save_model
from tokgraft.models.sources import MODEL_SOURCES
from tokgraft.registry import Registry
from tokgraft.resources import RESOURCES
from tokgraft.scoring.tasks import TASKS
from tokgraft.stages import STAGES
from tokgraft.tokenizers.trainers import TRAINERS
from tokgraft.training.objectives import OBJECTIVES

REGISTRIES: list[Registry[Any]] = [METHODS, REFINERS, RESOURCES, TRAINERS, TASKS, MODEL_SOURCES, SOURCES, OBJECTIVES]
ONLINE = {"apt_help", "hub", "package"}  # parts that need a registry or the Hub


@dataclass(frozen=True)
class Case:
    """A real run of a stage, and the registered parts that its settings name."""

    stage: str
    parts: tuple[str, ...]
    command: tuple[str, ...]

    @property
    def name(self) -> str:
        return "-".join([self.stage, *(part.rpartition(".")[2] for part in self.parts)])


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda registry: registry.kind)
def test_a_registered_part_lives_in_the_module_of_its_name(registry: Registry[Any]) -> None:
    found = subprocess.run(
        [sys.executable, "-c", f"import importlib, json; print(json.dumps(importlib.import_module({registry.package!r}).__path__[0]))"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in registry.names():
        assert (Path(json.loads(found.stdout)) / f"{name}.py").is_file(), name


def test_asking_for_one_part_imports_no_other() -> None:
    code = (
        "import sys; from tokgraft import methods; methods.parse('mean+clip', {}).settings; methods.parse('omp').requires\n"
        "print([name.rpartition('.')[2] for name in sorted(sys.modules) if name.startswith('tokgraft.methods.') and '._' not in name])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "['clip', 'mean', 'omp']"
    )


# --- declared and loaded --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Case, int, str, list[str]]]:
    """Every case with its exit status, what it printed and what it loaded."""
    place = tmp_path_factory.mktemp("sources")
    cases = list(_cases(place))
    given = json.dumps([case.command for case in cases])
    script = Path(__file__).with_name("loaded.py")
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{place}/mlflow.db", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(script)], input=given, capture_output=True, text=True, cwd=place, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [(case, *found) for case, found in zip(cases, json.loads(done.stdout.splitlines()[-1]), strict=True)]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_stage_declares_what_it_loads(runs: list[tuple[Case, int, str, list[str]]]) -> None:
    """Of every stage, method, refiner, resource, trainer and task: no module that a real run loads is missing from the declared files."""
    assert {STAGES[case.stage].entry for case, *_ in runs} == {stage.entry for stage in STAGES.values()}
    for case, status, said, loaded in runs:
        assert status == 0, f"{case.name}: {said}"
        declared = set(sources.closure((f"tokgraft.{STAGES[case.stage].entry}", *case.parts)))
        missing = [name for name in loaded if name not in declared and not sources.silent(name)]
        assert not missing, f"{case.name} loads {missing}, but a change of them would not run it again"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_registered_part_was_run(runs: list[tuple[Case, int, str, list[str]]]) -> None:
    ran = {part for case, *_ in runs for part in case.parts}
    for registry in REGISTRIES:
        assert {registry.module(name) for name in registry.names() if name not in ONLINE} <= ran, registry.kind


def _cases(place: Path) -> Any:
    english, german = (_corpus(place, slug, found) for slug, found in zip(("eng_Latn", "deu_Latn"), toytasks.corpora(), strict=True))
    texts = ("--corpus", str(german), "--english", str(english))
    source, target = toys.tokenizer("byte_level"), toys.tokenizer("byte_level", 600, "both")
    base, new = place / "base", place / "new"
    save_model(toys.decoder(len(source), True), source, base)
    target.save_pretrained(new)
    yield from _corpora(place)
    yield from _tokenizers(place, base, texts)
    yield Case(
        "evaluation", (), ("tokenizer", "evaluate", "--tokenizer", str(new), *texts, "--base", str(base), "--out", str(place / "evaluated"))
    )
    yield from _models(place, base, new)
    for name in RESOURCES.names():
        settings = json.dumps(toytasks.SMALL.get(name, {}))
        flags = {"corpus": german, "english": english, "tokenizer": new, "base": base}
        given = [word for need in sorted(resources.needs(name)) for word in (f"--{need}", str(flags[need]))]
        yield Case(
            "resource", (RESOURCES.module(name),), ("resource", "--name", name, *given, "--settings", settings, "--out", str(place / name))
        )
    for chain in [*METHODS.names(), *(f"mean+{name}" for name in REFINERS.names())]:
        required = sorted(methods.parse(chain).requires)
        given = [word for name in required for word in ("--resource", f"{name}={place / name}")]
        tokenizer = () if chain == "none" else ("--tokenizer", str(new))
        parts = (*methods.parse(chain).modules, *map(RESOURCES.module, required))
        out = str(place / f"model-{chain}")
        yield Case("transplant", parts, ("transplant", "--model", str(base), *tokenizer, "--method", chain, *given, "--out", out))
    model, trained = str(place / "model-mean"), str(place / "trained")
    recipe = {"sequence_length": 32, "batch_size": 4, "validation_bytes": 500,
              "stages": [{"name": "all", "train": ["all"], "bytes": 2000, "lr": 1e-3, "replay": 0.2}]}  # fmt: skip
    command = ("train", "--model", model, *texts, "--settings", json.dumps(recipe), "--out", trained)
    yield Case("train", (OBJECTIVES.module("next_token"),), command)
    for name in TASKS.names():
        # Bits per byte beside it: of the invented pages no headings can be guessed.
        tasks = {
            key: {"builder": builder, "max_items": 4, "item_bytes": 100} for key, builder in (("own", name), ("text", "bits_per_byte"))
        }
        out = str(place / f"scores-{name}")
        command = ("score", "--model", model, *texts, "--settings", json.dumps(tasks), "--config", str(ROOT / "config"), "--out", out)
        if name not in ONLINE:
            yield Case("score", (TASKS.module(name), TASKS.module("bits_per_byte")), command)
    ends = ("--repeats", "2", "--seconds", "0", "--patience", "0", "--out", str(place / "speed"))
    yield Case("speed", (), ("speed", "--base", str(base), "--tokenizer", str(new), "--corpus", str(german), *ends))
    yield from _reports(place)


def _corpus(place: Path, slug: str, texts: Path) -> Path:
    """A corpus artifact with the same pages in every split."""
    with artifacts.create(place / slug, "corpus", {"slug": slug, "language": {"name": slug, "words": "space"}}) as folder:
        for split in ("train", "dev", "test"):
            shutil.copy(texts / "dev.jsonl", folder / f"{split}.jsonl")
            pairs = texts / "pairs_train.jsonl"
            (folder / f"pairs_{split}.jsonl").write_bytes(pairs.read_bytes() if pairs.is_file() else b"")
    return place / slug


def _corpora(place: Path) -> Any:
    text = place / "text"
    text.mkdir()
    for number in range(40):
        (text / f"{number}.txt").write_text("\n\n".join(toys.english()[number * 20 : number * 20 + 20]), encoding="utf-8")
    facts = {
        "name": "English",
        "bcp47": "en",
        "iso639_3": "eng",
        "script": "Latn",
        "lid": [],
        "sources": [{"kind": "local", "path": str(text)}],
    }
    settings = json.dumps({"slug": "eng_Latn", "language": facts})
    yield Case("corpus", (SOURCES.module("local"),), ("corpus", "--settings", settings, "--out", str(place / "corpus")))


def _tokenizers(place: Path, base: Path, texts: tuple[str, ...]) -> Any:
    """Every trainer, by a recipe of the box that uses it, made small."""
    small = {"vocab_size": 600, "new_tokens": 32, "remove_tokens": 32}
    recipes = {
        data["trainer"]: data for slug in slugs("tokenizers", ROOT / "config") for data in [_recipe(slug)] if "languages" not in data
    }
    assert set(recipes) == set(TRAINERS.names())
    for trainer, recipe in recipes.items():
        settings = {key: small.get(key, value) for key, value in recipe.items() if key not in {"morphemes", "min_frequency"}}
        out = str(place / f"tokenizer-{trainer}")
        command = ("tokenizer", "--settings", json.dumps(settings), *texts, "--base", str(base), "--out", out)
        yield Case("tokenizer", (TRAINERS.module(trainer),), command)


def _recipe(slug: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / f"config/tokenizers/{slug}.yaml").read_text())
    return found


def _models(place: Path, base: Path, new: Path) -> Any:
    local = {"name": "Mine", "source": {"kind": "local", "path": str(base)}}
    yield Case("model", (MODEL_SOURCES.module("local"),), ("model", "--settings", json.dumps(local), "--out", str(place / "local")))
    shape = {"layers": 1, "hidden": 32, "heads": 2, "intermediate": 64}
    scratch = {"name": "New", "source": {"kind": "scratch", "tokenizer": "x", "recipe": "x", **shape}}
    command = ("model", "--settings", json.dumps(scratch), "--tokenizer", str(new), "--out", str(place / "scratch"))
    yield Case("model", (MODEL_SOURCES.module("scratch"),), command)


def _reports(place: Path) -> Any:
    sys.path.insert(0, str(ROOT / "tests" / "reporting"))
    from synthetic_cells import build

    cells = str(build(place, [("pocket", "deu_Latn", ["none", "mean"])], pages=30).relative_to(place))
    yield Case("report", (), ("report", "--cells", cells, "--out", "tables"))
    yield Case("check", ("tokgraft.tracking.record",), ("report", "--cells", cells, "--check"))
    yield Case("publish", (), ("publish", "--cells", cells))
    settings, config = str(ROOT / "config" / "config.yaml"), str(ROOT / "config")
    named = tuple(part for method in ("none", "random", "mean", "multivariate", "focus") for part in methods.parse(method).modules)
    command = ("list", "cells", "--settings", settings, "--config", config)
    yield Case("cells", (*named, RESOURCES.module("token_vectors")), command)


# --- narrowly -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METHODS.names())
def test_a_method_does_not_depend_on_another_ones_file(name: str) -> None:
    """Except on those whose functions it uses, which it imports by name."""
    own = {METHODS.module(name)}
    others = {METHODS.module(other) for other in METHODS.names()} - own
    imported = set(sources.closure((METHODS.module(name),))) & others
    text = (ROOT / f"src/tokgraft/methods/{name}.py").read_text()
    assert all(part.rpartition(".")[2] in text for part in imported)


def test_a_kernel_of_omp_is_none_of_mean() -> None:
    omp, mean, focus = (set(sources.closure((METHODS.module(name),))) for name in ("omp", "mean", "focus"))
    kernels = {module for module in omp - mean - focus if ".numerics." in module}
    assert "tokgraft.numerics.pursuit_loops" in kernels


@pytest.mark.parametrize(
    ("place", "changes"),
    [
        ("segmenter.py", {"transplant"}),
        ("vocab.py", {"transplant", "train", "tokenizer", "evaluation", "model", "score"}),
        ("numerics/pursuit_loops.py", set()),
        ("methods/mean.py", {"transplant"}),
        ("training/loop.py", {"train"}),
        ("training/objectives/next_token.py", {"train"}),
        ("scoring/harness.py", {"score"}),
        ("corpus/clean.py", {"corpus"}),
        ("reporting/page.css", {"report"}),
        ("tokenizers/trainers/bpe.py", {"tokenizer"}),
        ("tokenizers/trainers/unigram.py", set()),
        ("errors.py", set()),
        ("cli/train.py", set()),
    ],
)
def test_a_changed_file_changes_the_code_of_its_stages(place: str, changes: set[str], tmp_path: Path) -> None:
    """On a cell of `mean` with a BPE tokenizer, through the hashes that the rules see."""
    project = copy_project(tmp_path / "project")
    before, file = _codes(project.root), project.root / "src/tokgraft" / place
    file.write_text(file.read_text() + ("/* changed */\n" if place.endswith(".css") else "# changed\n"))
    after = _codes(project.root)
    assert {stage for stage in before if before[stage] != after[stage]} == changes


CODES = """
import json
from types import SimpleNamespace
from tokgraft.workflow import Workflow
w = Workflow()
job = SimpleNamespace(model="pocket", language="deu_Latn", tokenizer="bpe8k", method="mean", recipe="pocket-demo", seed="0", stage="init~0",
                      resource="token_vectors")
stages = ("corpus", "tokenizer", "evaluation", "model", "transplant", "train", "score", "report")
print(json.dumps({stage: w.params(stage)["code"](job) for stage in stages}))
"""


def _codes(root: Path, cwd: Path | None = None) -> dict[str, str]:
    environment = {**os.environ, "PYTHONPATH": str(root / "src")}
    done = subprocess.run([sys.executable, "-c", CODES], capture_output=True, text=True, cwd=cwd or root, env=environment, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


def test_the_code_is_the_same_wherever_the_package_lies(tmp_path: Path) -> None:
    """A checkout whose package is installed from elsewhere plans nothing anew."""
    here, there = copy_project(tmp_path / "here"), copy_project(tmp_path / "far" / "there")
    assert _codes(here.root) == _codes(there.root, cwd=here.root)


def test_a_changed_template_of_the_harness_is_seen(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "project")
    before, file = _codes(project.root), project.root / "config/lm_eval/choice.yaml"
    file.write_text(file.read_text() + "# changed\n")
    after = _codes(project.root)
    assert {stage for stage in before if before[stage] != after[stage]} == {"score"}
