"""Configuration: unknown keys are errors, every file in the box is valid, generated files are in step."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tokgraft.config.base import slugs
from tokgraft.config.experiment import Experiment
from tokgraft.config.language import Language
from tokgraft.config.schema import KINDS, reference, schema
from tokgraft.errors import ConfigError
from tokgraft.matrix import load_matrix
from tokgraft.workflow import Workflow

GRID = {
    "models": ["pocket"],
    "languages": ["deu_Latn"],
    "tokenizers": ["bpe8k"],
    "methods": ["none", "mean"],
    "recipes": ["pocket-demo"],
    "tasks": ["bpb"],
}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_every_file_in_the_box_is_valid(kind: type) -> None:
    names = slugs(kind.folder)
    assert names
    for name in names:
        kind.load(name)


def test_generated_files_are_in_step() -> None:
    """`make schema` writes both."""
    assert json.loads(Path("config/schema.json").read_text()) == schema()
    assert Path("docs/configuration.md").read_text() == reference() + "\n"


def test_the_two_lists_of_pins_are_in_step() -> None:
    """`make lock` writes both."""
    made = subprocess.run([sys.executable, "envs/conda.py"], capture_output=True, text=True, check=True).stdout
    assert Path("envs/tokgraft.yaml").read_text() == made
    assert "snakemake==9.27.1" in made


def test_every_config_file_names_its_schema() -> None:
    for kind in KINDS:
        for name in slugs(kind.folder):
            text = Path(f"config/{kind.folder}/{name}.yaml").read_text()
            assert f"$schema=../schema.json#/$defs/{kind.__name__}" in text, f"{kind.folder}/{name}.yaml"


def test_unknown_key_names_the_place_and_a_near_match() -> None:
    data = {"name": "x", "grids": [{**GRID, "method": ["mean"]}]}
    with pytest.raises(ConfigError, match=r"grids\.0\.method: unknown key \(did you mean methods"):
        Experiment.parse(data, "config.yaml")
    language = {"name": "X", "bcp47": "x", "iso639_3": "xxx", "script": "Latn", "lid": [], "sources": [{"kind": "local", "pth": "a"}]}
    with pytest.raises(ConfigError, match=r"sources\.0\.local\.path: Field required; sources\.0\.local\.pth: unknown key"):
        Language.parse(language, "x.yaml")


@pytest.mark.parametrize(
    ("key", "bad", "near"),
    [
        ("models", "pokcet", "pocket"),
        ("languages", "deu_latn", "deu_Latn"),
        ("tokenizers", "bpe8", "bpe8k"),
        ("methods", "maen", "mean"),
        ("recipes", "pocket-dmo", "pocket-demo"),
        ("tasks", "bbp", "bpb"),
    ],
)
def test_unknown_slug_is_named_with_near_matches(key: str, bad: str, near: str) -> None:
    with pytest.raises(ConfigError, match=bad) as caught:
        Workflow(json.dumps({"name": "x", "grids": [{**GRID, key: [bad]}]}))
    assert near in caught.value.do


def test_unknown_parameters_are_refused_before_the_graph_is_built() -> None:
    with pytest.raises(ConfigError, match="epsilom"):
        Workflow(
            json.dumps(
                {"name": "x", "grids": [{**GRID, "methods": ["multivariate"]}], "methods": {"multivariate": {"params": {"epsilom": 1}}}}
            )
        )
    with pytest.raises(ConfigError, match="epohcs"):
        Workflow(json.dumps({"name": "x", "grids": [GRID], "resources": {"token_vectors": {"epohcs": 1}}}))
    with pytest.raises(ConfigError, match="no grid uses it"):
        Workflow(json.dumps({"name": "x", "grids": [GRID], "methods": {"focus": {"params": {}}}}))


def test_cells_are_unique_and_the_control_keeps_its_tokenizer() -> None:
    matrix = load_matrix(json.dumps({"name": "x", "grids": [{**GRID, "tokenizers": ["bpe8k", "bpe4k"]}, GRID]}))
    found = [(cell.method, cell.tokenizer) for cell in matrix.cells]
    assert sorted(found) == [("mean", "bpe4k"), ("mean", "bpe8k"), ("none", "original")]


def test_tasks_of_a_cell_are_those_of_its_grids() -> None:
    other = {**GRID, "methods": ["mean"], "tasks": ["bpb-english"]}
    matrix = load_matrix(json.dumps({"name": "x", "grids": [GRID, other]}))
    assert matrix.tasks("pocket", "deu_Latn", "bpe8k", "mean", 0, "init") == ["bpb", "bpb-english"]
    assert matrix.tasks("pocket", "deu_Latn", "original", "none", 0, "init") == ["bpb"]


def test_a_chain_takes_the_settings_of_its_parts() -> None:
    """A variant of a method can be refined without an entry for each chain; an entry for the whole chain wins."""
    data = {
        "name": "x",
        "grids": [{**GRID, "methods": ["focus-wide", "mean"], "refiners": ["plain", "readout", "prior+readout"]}],
        "methods": {
            "focus-wide": {"method": "focus", "params": {"match_symbols": True}, "resources": {"token_vectors": "wide"}},
            "mean+readout": {"params": {"readout": {"states": 9}}},
        },
        "refiners": {"readout": {"states": 5}, "prior": {"rounds": 2}},
        "resources": {"wide": {"resource": "token_vectors", "params": {"dim": 300}}},
    }
    matrix = Workflow(json.dumps(data)).matrix
    assert matrix.method("focus-wide") == ("focus", {"match_symbols": True})
    both = {"prior": {"rounds": 2}, "readout": {"states": 5}}
    assert matrix.method("focus-wide+prior+readout") == ("focus+prior+readout", {"focus": {"match_symbols": True}, **both})
    assert matrix.resources("focus-wide+readout") == {"token_vectors": "wide"}
    assert matrix.method("mean+readout") == ("mean+readout", {"readout": {"states": 9}})
    assert matrix.method("mean+prior+readout") == ("mean+prior+readout", both)
    assert len(matrix.cells) == 6
    with pytest.raises(ConfigError, match="state"):
        Workflow(json.dumps({**data, "refiners": {"readout": {"state": 5}}}))
