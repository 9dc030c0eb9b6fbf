"""Which text of the corpora a run trains on, and which it validates on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokgraft.config.recipe import TrainingRecipe
from tokgraft.errors import DataError
from tokgraft.logs import log
from tokgraft.training.data_source import PackedText, pack
from tokgraft.training.pages import Pages, PageStream, StageDocuments
from tokgraft.training.sampling import Sampler
from tokgraft.training.token_store import TokenStore


class TrainingText:
    """The corpora of a run.

    Args:
        corpus: Corpus of the language.
        english: English corpus, or None.
        recipe: The recipe.

    Attributes:
        dev: Column of the curves ("val_bpb", "val_bpb_english") -> dev pages.
        same: Whether the language is English, so that both columns are one.
        epochs: Corpus ("target", "english") -> how often its text is read; known after `sources`.

    Raises:
        DataError: A corpus is missing, damaged or empty, or a stage replays English and there is none.
    """

    def __init__(self, corpus: Path, english: Path | None, recipe: TrainingRecipe) -> None:
        replayed = [stage.name for stage in recipe.stages if stage.replay]
        if replayed and english is None:
            raise DataError(
                f"stage {replayed[0]!r} replays English, and no English corpus is given", "give --english DIR, or set replay: 0"
            )
        self.same = english is not None and Path(english).resolve() == Path(corpus).resolve()
        self._target = Pages(corpus, "train")
        self.dev = {"val_bpb": Pages(corpus, "dev").sample(recipe.validation_bytes)}
        self._english: Pages | None = None
        if english is not None:
            self._english = Pages(english, "train") if replayed else None
            if not self.same:
                self.dev["val_bpb_english"] = Pages(english, "dev").sample(recipe.validation_bytes)
        self.epochs: dict[str, float] = {}

    def sources(self, tokenizer: Any, recipe: TrainingRecipe, seed: int) -> list[PackedText]:
        """The text of every stage; each goes on in the text where the one before has stopped.

        Raises:
            ConfigError: Segmentations are to be drawn, and the tokenizer does not allow it.
            DataError: A stage has less text than one sequence.
        """
        target = PageStream(self._target, seed)
        english = PageStream(self._english, seed) if self._english is not None else None
        store = TokenStore(tokenizer)
        draw = None
        if recipe.sampling is not None:
            draw = Sampler(tokenizer, self._target.sample(recipe.sampling.fit_bytes), recipe.sampling, seed).encode
        found = []
        for stage in recipe.stages:
            documents = StageDocuments(stage, target, english)
            found.append(pack(stage.name, documents, store, recipe, draw))
            target, english = documents.then
        self.epochs = {"target": round(target.epochs, 4)} | ({"english": round(english.epochs, 4)} if english else {})
        for name, count in self.epochs.items():
            log.info("%s text is read %.2f times", name, count)
        return found
