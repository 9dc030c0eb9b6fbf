"""No number of a configuration without an end, and no name that leads out of its folder: a message, before work."""

from __future__ import annotations

import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import pytest
from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, ValidationError

from tokgraft.config.bounds import SEEDS
from tokgraft.config.evaluation import TokenizerEvaluation
from tokgraft.config.experiment import Experiment
from tokgraft.config.language import CorpusSettings, Language
from tokgraft.config.recipe import TrainingRecipe
from tokgraft.config.schema import KINDS
from tokgraft.config.task import Task
from tokgraft.config.tokenizer import TokenizerRecipe
from tokgraft.errors import ConfigError
from tokgraft.methods import METHODS, REFINERS
from tokgraft.resources import RESOURCES

STAGE = {"name": "all", "train": ["all"], "bytes": 1000, "lr": 1e-3}
RECIPE: dict[str, Any] = {"stages": [STAGE]}
GRID = {
    "models": ["pocket"],
    "languages": ["deu_Latn"],
    "tokenizers": ["bpe8k"],
    "methods": ["mean"],
    "recipes": ["init"],
    "tasks": ["bpb"],
}
LANGUAGE = {"name": "X", "bcp47": "x", "iso639_3": "xxx", "script": "Latn", "lid": [], "sources": [{"kind": "local", "path": "a"}]}


def _models() -> set[type[BaseModel]]:
    """Every model of a configuration file or section, with those inside of it."""
    found: set[type[BaseModel]] = set()
    pending: list[Any] = [*KINDS, CorpusSettings, TokenizerEvaluation]
    while pending:
        kind = pending.pop()
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            if kind not in found:
                found.add(kind)
                pending += [field.annotation for field in kind.model_fields.values()]
        else:
            pending += get_args(kind)
    return found


def _numbers(annotation: Any, metadata: list[Any]) -> Iterator[list[Any]]:
    """The constraints of each number in a type."""
    if annotation in (int, float):
        yield metadata
    elif get_origin(annotation) is Annotated:
        inner, *own = get_args(annotation)
        yield from _numbers(inner, [part for item in own for part in getattr(item, "metadata", [item])])
    else:
        union = get_origin(annotation) in (types.UnionType, __import__("typing").Union)
        for part in get_args(annotation):
            yield from _numbers(part, metadata if union else [])


@pytest.mark.parametrize("kind", sorted(_models(), key=lambda kind: kind.__name__), ids=lambda kind: kind.__name__)
def test_every_number_has_a_smallest_and_a_largest_value(kind: type[BaseModel]) -> None:
    for name, field in kind.model_fields.items():
        for metadata in _numbers(field.annotation, field.metadata):
            assert any(isinstance(item, Ge | Gt) for item in metadata), f"{kind.__name__}.{name} has no smallest value"
            assert any(isinstance(item, Le | Lt) for item in metadata), f"{kind.__name__}.{name} has no largest value"


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"stages": [{**STAGE, "bytes": 10**30}]}, "stages.0.bytes"),
        ({"stages": [{**STAGE, "lr": float("nan")}]}, "stages.0.lr"),
        ({"stages": [{**STAGE, "lr": float("inf")}]}, "stages.0.lr"),
        ({"checkpoints": 10**12}, "checkpoints"),
        ({"validations": 10**12}, "validations"),
        ({"betas": [2, -1]}, "betas.0"),
        ({"betas": [0.9, 1.0]}, "betas.1"),
        ({"batch_size": 10**9}, "batch_size"),
        ({"weight_decay": float("-inf")}, "weight_decay"),
        ({"sequence_length": -8}, "sequence_length"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(change: dict[str, Any], place: str) -> None:
    with pytest.raises(ConfigError, match=place) as caught:
        TrainingRecipe.parse({**RECIPE, **change}, "recipe.yaml")
    assert "Value error" not in str(caught.value)


@pytest.mark.parametrize("seed", [-1, 2**32, 10**30])
def test_seeds_are_what_every_generator_takes(seed: int) -> None:
    with pytest.raises(ConfigError, match=r"seeds\.0"):
        Experiment.parse({"name": "x", "grids": [{**GRID, "seeds": [seed]}]}, "x.yaml")
    with pytest.raises(ConfigError, match="from 0 to 4294967295"):
        SEEDS.check(seed, "--seed")


def test_parameters_of_methods_and_resources_are_finite() -> None:
    """Whatever a method's author forgot to bound."""
    kinds = [entry.params for registry in (METHODS, REFINERS, RESOURCES) for _, entry in registry.items()]
    assert len(kinds) > 30
    for kind in kinds:
        for name, field in kind.model_fields.items():
            if list(_numbers(field.annotation, [])):
                for value in (10**30, float("nan"), float("inf")):
                    with pytest.raises(ConfigError, match=name):
                        kind.parse({name: value}, "parameters")


def test_nesting_has_an_end() -> None:
    deep: Any = 1
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(ConfigError, match="nested too deeply"):
        Experiment.parse({"name": "x", "grids": [GRID], "methods": {"mean": {"params": {"a": deep}}}}, "x.yaml")
    with pytest.raises(ConfigError, match="nested too deeply"):
        Task.parse({"builder": "hub", "names": deep}, "task")


BAD_NAMES = ["../../x", "a/b", "a\n", "", "-a", ".hidden", "a b", "a;touch x", "/etc", "a\u2028", "~"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_become_part_of_a_path_are_slugs(name: str) -> None:
    for kind, data in (
        (CorpusSettings, {"slug": name, "language": LANGUAGE}),
        (Language, {**LANGUAGE, "parent": name}),
        (TokenizerRecipe, {"trainer": "bpe", "languages": {"x": [name]}}),
        (Experiment, {"name": "x", "grids": [GRID], "methods": {name: {"method": "mean"}}}),
        (Experiment, {"name": "x", "grids": [GRID], "resources": {name: {"resource": "token_vectors"}}}),
        (Experiment, {"name": name, "grids": [GRID]}),
        *((Experiment, {"name": "x", "grids": [{**GRID, key: [name]}]}) for key in GRID),
    ):
        with pytest.raises(ConfigError, match=r"part of a path|match pattern"):
            kind.parse(data, "x")


@pytest.mark.parametrize("name", BAD_NAMES)
def test_tasks_write_into_the_artifact_only(name: str, tmp_path: Path) -> None:
    from tokgraft.scoring.run import plan

    with pytest.raises(ConfigError, match="cannot be part of a path"):
        plan({name: Task(builder="heading")}, tmp_path, None, tmp_path, online=False)
    with pytest.raises(ConfigError, match="names"):
        Task.parse({"builder": "hub", "names": [name]}, "task")
    with pytest.raises(ValidationError):
        Language(**{**LANGUAGE, "hub_tasks": [name]})


def test_names_of_the_harness_are_taken() -> None:
    Task(builder="hub", names=["arc_challenge", "global_mmlu_full_de", "xnli-eu.native", "belebele_deu_Latn"])
