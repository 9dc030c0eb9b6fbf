"""Where the artifacts of an experiment live.

Artifacts are shared by all experiments, so everything that decides their content must be in their path. Most of it is a slug that stands
for a file in `config/` (`deu_Latn`, `bpe8k`). What an experiment itself changes (a cap on the corpora, parameters of a method, which tasks
are scored) becomes a key behind the slug: `results/corpora/deu_Latn~1a2b3c4d`. Two experiments that change the same thing in the same way
share the artifact, others never meet. Tables, figures, checks and lists belong to one experiment and lie under its name.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from tokgraft import methods, resources
from tokgraft.config import layout
from tokgraft.config.evaluation import TokenizerEvaluation
from tokgraft.config.experiment import Experiment
from tokgraft.matrix import Cell, Matrix

# Settings of an experiment that change every corpus, and so everything that is made from one.
TEXT = ("splits", "max_corpus_bytes")


class Places:
    """Folders of an experiment's artifacts, relative to the project root. Arguments are slugs; keys are added here.

    Args:
        matrix: The experiment.
    """

    def __init__(self, matrix: Matrix) -> None:
        self.matrix = matrix
        self._text = _changed_text(matrix.experiment)
        # Asked for every cell by several rules, with the same answer.
        self.method = cache(self._method)
        self.resource_name = cache(self._resource_name)

    # --- names in paths -----------------------------------------------------------------------------------------------

    def language(self, slug: str) -> str:
        """Name of a language's corpus, with a key where the experiment changes how corpora are split or cut."""
        return layout.keyed(slug, self._text)

    def model(self, slug: str) -> str:
        """Name of a base model: one that the pipeline trains itself depends on a corpus, the others do not."""
        return layout.keyed(slug, self._text if slug in self.matrix.scratch else None)

    def _resource_name(self, name: str) -> str:
        registered, params = self.matrix.resource(name)
        return layout.keyed(name, [registered, params] if params else None)

    def _method(self, name: str) -> str:
        chain, params = self.matrix.method(name)
        changed = {role: found for role, found in self._resources_of(name).items() if found != role}
        overrides = self.matrix.overrides(name)
        plain = chain == name and not params and not changed and not overrides
        return layout.keyed(name, None if plain else [chain, params, changed, *([overrides] if overrides else [])])

    def _resources_of(self, method: str) -> dict[str, str]:
        """Resource that a method requires -> name in the path of the one that it gets."""
        chosen = self.matrix.resources(method)
        required = methods.parse(self.matrix.method(method)[0]).requires
        return {role: self.resource_name(chosen.get(role, role)) for role in sorted(required)}

    # --- artifacts ----------------------------------------------------------------------------------------------------

    def corpus(self, language: str) -> str:
        """Corpus of a language."""
        return layout.corpus(self.language(language))

    def shard(self, language: str, number: int) -> str:
        """One shard of a corpus that several jobs prepare."""
        return layout.shard(self.language(language), number)

    def base(self, model: str) -> str:
        """Base model."""
        return layout.base(self.model(model))

    def untrained(self, model: str) -> str:
        """Initial weights of a base model that the pipeline trains itself."""
        return layout.untrained(self.model(model))

    def tokenizer(self, model: str, language: str, recipe: str) -> str:
        """Tokenizer: a recipe applied to a base model and a language."""
        return layout.tokenizer(self.model(model), self.language(language), recipe)

    def evaluation(self, model: str, language: str, recipe: str) -> str:
        """Evaluation of a tokenizer, with a key where the experiment changes how it is done."""
        found, usual = self.matrix.evaluation(language), TokenizerEvaluation()
        changed = found.canonical() if found != usual else None
        return layout.evaluation(self.model(model), self.language(language), layout.keyed(recipe, changed))

    def resource(self, name: str, model: str, language: str, recipe: str) -> str:
        """A resource, made once for everything that it does not depend on."""
        needs = resources.needs(self.matrix.resource(name)[0])
        return layout.resource(
            self.resource_name(name),
            self.model(model) if needs & {"base", "tokenizer"} else layout.ANY,
            self.language(language),
            recipe if "tokenizer" in needs else layout.ANY,
        )

    def required(self, method: str, model: str, language: str, recipe: str) -> dict[str, str]:
        """Resource that a method requires -> folder of the one that it gets."""
        chosen = self.matrix.resources(method)
        return {role: self.resource(chosen.get(role, role), model, language, recipe) for role in self._resources_of(method)}

    def speed(self, model: str, language: str, recipe: str) -> str:
        """Speed of a base model with its own vocabulary and with a new one: no method and no training changes it."""
        return layout.speed(self.model(model), self.language(language), recipe)

    def adapted(self, model: str, language: str, recipe: str, method: str, seed: int | str, stage: str) -> str:
        """Adapted model; `stage` is `init` or the slug of the training recipe."""
        return layout.adapted(self.model(model), self.language(language), recipe, self.method(method), seed, stage)

    def scores(self, model: str, language: str, recipe: str, method: str, seed: int, stage: str) -> str:
        """Scores of an adapted model; the name of its stage has a key that stands for the tasks it is scored on."""
        scored = layout.keyed(stage, self.matrix.tasks(model, language, recipe, method, seed, stage))
        return layout.scores(self.model(model), self.language(language), recipe, self.method(method), seed, scored)

    def cell(self, cell: Cell) -> dict[str, str]:
        """Folder of each artifact that belongs to a cell; a zero-shot cell has nothing that is trained."""
        place = (cell.model, cell.language, cell.tokenizer, cell.method, cell.seed)
        found = {
            "base": self.base(cell.model),
            "corpus": self.corpus(cell.language),
            "english": self.corpus(layout.ENGLISH),
            "tokenizer": self.tokenizer(*place[:3]),
            "evaluation": self.evaluation(*place[:3]),
            "init": self.adapted(*place, layout.INIT),
            "score_init": self.scores(*place, layout.INIT),
        }
        if cell.tokenizer != layout.ORIGINAL:
            found["speed"] = self.speed(*place[:3])
        if cell.recipe != layout.INIT:
            found |= {"trained": self.adapted(*place, cell.recipe), "score_trained": self.scores(*place, cell.recipe)}
        return found


def _changed_text(experiment: Experiment) -> dict[str, Any] | None:
    """What the experiment changes about every corpus; None: nothing."""
    settings = experiment.canonical()
    usual = {name: Experiment.model_fields[name].get_default(call_default_factory=True) for name in TEXT}
    changed = {name: settings[name] for name in TEXT if getattr(experiment, name) != usual[name]}
    return changed or None


def listing(matrix: Matrix) -> dict[str, Any]:
    """What the report and the tracking stage are told: every cell with its folders, and names for people."""
    places, cells = Places(matrix), []
    # Tables and store know of these only where the experiment asks for them.
    wanted = {"evaluation": matrix.experiment.tokenizer_evaluation is not None, "speed": matrix.experiment.speed}
    for cell in matrix.cells:
        paths = {role: folder for role, folder in places.cell(cell).items() if wanted.get(role, True)}
        cells.append({**cell.__dict__, "chain": matrix.method(cell.method)[0], "paths": paths, "reason": None})
    return {
        "experiment": matrix.experiment.name,
        "description": matrix.experiment.description,
        "names": {
            "languages": {slug: language.name for slug, language in matrix.languages.items()},
            "models": {slug: model.name for slug, model in matrix.models.items()},
        },
        "licences": {slug: model.licence for slug, model in matrix.models.items() if model.licence},
        "cells": cells,
    }
