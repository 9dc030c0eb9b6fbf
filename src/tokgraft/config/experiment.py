"""An experiment: which cells of the matrix model x language x tokenizer x method x recipe x seed are run."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field

from tokgraft.config import bounds, overrides
from tokgraft.config.base import ConfigFile, Slug, Strict
from tokgraft.config.evaluation import TokenizerEvaluation
from tokgraft.config.language import Splits
from tokgraft.errors import ConfigError

PLAIN = "plain"


def _overrides(given: dict[str, str]) -> dict[str, str]:
    try:
        overrides.parse_all(given)
    except ConfigError as error:
        raise ValueError(f"{error.what} ({error.do})") from None
    return given


class Grid(Strict):
    """A block of the matrix: every combination of what it lists."""

    models: list[Slug] = Field(min_length=1, description="Slugs of base models.")
    languages: list[Slug] = Field(min_length=1, description="Slugs of target languages.")
    tokenizers: list[Slug] = Field(min_length=1, description="Slugs of tokenizer recipes (the control `none` keeps the original one).")
    methods: list[Slug] = Field(min_length=1, description="Names of methods, or of entries under `methods`.")
    refiners: list[Slug] = Field(
        default_factory=lambda: [PLAIN],
        min_length=1,
        description="What follows each method: `plain` (nothing), a refiner, or several joined by `+`; each method runs once with each.",
    )
    recipes: list[Slug] = Field(
        min_length=1, description="Slugs of training recipes; `init`: none, the models are scored right after the transplant (zero-shot)."
    )
    tasks: list[Slug] = Field(min_length=1, description="Slugs of evaluation tasks.")
    seeds: list[Annotated[int, Field(ge=bounds.SEEDS.low, le=bounds.SEEDS.high)]] = Field(
        default_factory=lambda: [0], min_length=1, description="Seeds of transplant and training."
    )


class MethodSettings(Strict):
    """A named setting of a method, so that variants of one method can stand beside each other."""

    method: str | None = Field(None, description="Registered method (default: the entry's own name).")
    params: dict[str, Any] = Field(default_factory=dict, description="Parameters that differ from the method's defaults.")
    resources: dict[str, str] = Field(
        default_factory=dict,
        description="Resource that the method requires -> entry under `resources` that it gets instead of the plain one.",
    )
    overrides: Annotated[dict[str, str], AfterValidator(_overrides)] = Field(
        default_factory=dict,
        description="Rows that are set after the method has made all: token of the new vocabulary -> like:TOKEN (a copy of the base's token), "
        "zero, or text:SOME TEXT (the mean of the base's tokens of a text).",
    )


class ResourceSettings(Strict):
    """A named setting of a resource, so that weaker and better ones can stand beside each other."""

    resource: str | None = Field(None, description="Registered resource (default: the entry's own name).")
    params: dict[str, Any] = Field(default_factory=dict, description="Parameters that differ from the resource's defaults.")


class Experiment(ConfigFile):
    """config/config.yaml, or one overlay of config/experiments/."""

    folder: ClassVar[str] = "experiments"
    kind: ClassVar[str] = "experiment"

    name: str = Field(description="Name of the experiment (MLflow experiment, report title).", pattern=r"^[a-z0-9][a-z0-9-]*$")
    description: str = Field("", description="What the experiment asks.")
    grids: list[Grid] = Field(min_length=1, description="Blocks of the matrix; equal cells are run once.")
    methods: dict[Slug, MethodSettings] = Field(default_factory=dict, description="Settings of methods.")
    refiners: dict[Slug, dict[str, Any]] = Field(
        default_factory=dict, description="Parameters of refiners, in every chain that is not itself an entry under `methods`."
    )
    resources: dict[Slug, ResourceSettings] = Field(default_factory=dict, description="Settings of resources (token_vectors, ...).")
    tokenizer_evaluation: TokenizerEvaluation | None = Field(
        None, description="Evaluate every tokenizer of the matrix, with these settings ({}: the defaults); null: only when asked for."
    )
    speed: bool = Field(
        True, description="Measure how much faster each new vocabulary makes its model; such a job takes every core of the run for itself."
    )
    splits: Splits = Field(default_factory=Splits, description="How pages are split.")
    max_corpus_bytes: int | None = Field(None, gt=0, le=bounds.BYTES, description="Cap on every corpus, for small trials.")
