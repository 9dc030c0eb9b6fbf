"""The real case: SmolLM2-135M to a German vocabulary of 16,384 tokens, with resources made by the pipeline's own commands.

Training settings of the resources are small, because only the speed of what reads them is measured; their sizes are the defaults.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokgraft import methods, resources
from tokgraft.methods import Transplant

ENCODER = {"width": 384, "layers": 1}  # the width of the default encoder; its weights are random
SMALL: dict[str, dict[str, Any]] = {
    "dictionary": {},
    "donor": {"layers": 1, "budget": 200_000},
    "merges": {},
    "sentence_embedder": {"max_length": 16, "batch": 512},
    "target_text": {"tokens": 4000, "dev_tokens": 1000},
    "token_alignment": {"min_count": 2},
    "token_cooccurrence": {"iterations": 2},
    "token_spans": {},
    "token_vectors": {"epochs": 1, "buckets": 200_000},
    "token_word2vec": {"max_steps": 10},
    "word_vectors": {"epochs": 2},
}


@dataclass(frozen=True)
class Places:
    """Where the inputs are."""

    base: Path
    corpus: Path
    english: Path
    home: Path  # what is made goes here

    @property
    def tokenizer(self) -> Path:
        """The new tokenizer."""
        return self.home / "bpe16k"

    def resource(self, name: str) -> Path:
        """Folder of a resource."""
        return self.home / name


def cpu() -> float:
    """CPU seconds of this process, all threads."""
    return time.process_time()


def prepare(places: Places) -> dict[str, float]:
    """Make the tokenizer and the resources that are missing; CPU seconds of each, those of an earlier run included."""
    places.home.mkdir(parents=True, exist_ok=True)
    told = places.home / "made.json"
    spent: dict[str, float] = json.loads(told.read_text()) if told.exists() else {}
    folders = {"corpus": places.corpus, "english": places.english, "base": places.base, "tokenizer": places.tokenizer}

    def flags(*names: str) -> list[str]:
        return [word for name in names for word in (f"--{name}", str(folders[name]))]

    commands = {"tokenizer": ["tokenizer", "--recipe", "bpe16k", *flags("corpus", "english", "base"), "--out", str(places.tokenizer)]}
    for name in resources.RESOURCES.names():
        settings = {**SMALL[name], **({"source": _encoder(places)} if name == "sentence_embedder" else {})}
        made_from = flags(*sorted(resources.needs(name)))
        commands[name] = ["resource", "--name", name, *made_from, "--settings", json.dumps(settings), "--out", str(places.resource(name))]
    for name, command in commands.items():
        if not Path(command[-1]).exists():
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run([sys.executable, "-m", "tokgraft", *command], check=True, stdout=sys.stderr, env=_plain())
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            spent[name] = round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1)
            told.write_text(json.dumps(spent, indent=1) + "\n")
    return spent


def _plain() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def _encoder(places: Places) -> dict[str, str]:
    """Settings of a sentence encoder with random weights, which is written if it is missing."""
    folder = places.home / "encoder"
    if not folder.exists():
        import torch
        from transformers import BertConfig, BertForMaskedLM

        from tokgraft.models.io import load_tokenizer, save_model

        tokenizer = load_tokenizer(places.base)
        torch.manual_seed(0)
        width = ENCODER["width"]
        config = BertConfig(
            vocab_size=len(tokenizer), hidden_size=width, intermediate_size=width, num_hidden_layers=ENCODER["layers"],
            num_attention_heads=6, max_position_embeddings=64,
        )  # fmt: skip
        save_model(BertForMaskedLM(config).eval(), tokenizer, folder)
    return {"kind": "local", "path": str(folder)}


@dataclass(frozen=True)
class Case:
    """The transplant, the two tokenizers, and what reading them cost."""

    task: Transplant
    source: Any
    target: Any
    reading: dict[str, float]


def load(places: Places) -> Case:
    """Read everything, each part's CPU seconds apart."""
    spent: dict[str, float] = {}

    def clocked(name: str, read: Any) -> Any:
        begin = cpu()
        found = read()
        spent[name] = cpu() - begin
        return found

    clocked("import of numpy, torch, transformers", _libraries)
    from tokgraft.models.io import embedding_tables, load_model, load_tokenizer
    from tokgraft.models.states import BodyStates
    from tokgraft.segmenter import Segmenter
    from tokgraft.vocab import Vocabulary

    source, target = clocked("tokenizers", lambda: [load_tokenizer(folder) for folder in (places.base, places.tokenizer)])
    old, new = clocked("vocabularies", lambda: [Vocabulary.from_tokenizer(part) for part in (source, target)])
    model = clocked("model", lambda: load_model(places.base))
    E, U = embedding_tables(model)
    E = E[: len(old)]
    U = E if U is None else U[: len(old)]
    segmenter = clocked("segmenter", lambda: Segmenter(source, old))
    loaded = {
        name: clocked(name, lambda name=name: resources.load(name, places.resource(name), len(new), new.fingerprint))
        for name in resources.RESOURCES.names()
    }
    task = Transplant(
        old, new, E, U, segmenter=segmenter, resources=loaded, load_model=lambda: load_model(places.base),
        load_target_segmenter=lambda: Segmenter(target, new), states=BodyStates(lambda: load_model(places.base)),
    )  # fmt: skip
    return Case(task, source, target, spent)


def _libraries() -> None:
    import torch
    import transformers  # noqa: F401

    torch.set_num_threads(1)


def chains() -> list[str]:
    """Every method, and every refiner behind the mean."""
    return [*methods.METHODS.names(), *(f"mean+{name}" for name in methods.REFINERS.names())]
