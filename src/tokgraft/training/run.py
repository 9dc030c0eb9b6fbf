"""Continual training of a model folder on a corpus: checks first, then the loop, then a complete model folder."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from tokgraft import artifacts
from tokgraft.artifacts import canonical_json
from tokgraft.config.bounds import SEEDS, THREADS
from tokgraft.config.recipe import TrainingRecipe
from tokgraft.errors import DataError, ModelError
from tokgraft.logs import log
from tokgraft.models.bits import bits_per_byte, document_bits
from tokgraft.models.io import check_model, load_model, load_tokenizer, save_model
from tokgraft.models.kinds import predicts_next
from tokgraft.training import device as devices
from tokgraft.training import loop, parts, processes, usage
from tokgraft.training.checkpoints import Checkpoints, default_folder
from tokgraft.training.cost import flops_per_token
from tokgraft.training.data import Packed, Pages, Stream, pack, stage_documents
from tokgraft.training.sampling import Sampler

LIBRARIES = ("torch", "transformers", "tokenizers", "safetensors", "numpy")
VALIDATION_WINDOW = 1024  # longest window of validation, in tokens; shorter where the context is
CARRIED = (parts.PROVENANCE, "transplant.json")


def train(
    model: Path,
    corpus: Path,
    recipe: TrainingRecipe,
    out: Path,
    *,
    english: Path | None = None,
    seed: int = 0,
    checkpoints: Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    trust_remote_code: bool = False,
) -> dict[str, Any]:
    """Train a model by a recipe and write it as an artifact of kind "model".

    A run that was killed goes on from its last checkpoint and gives the artifact that it would have given without the interruption.

    Args:
        model: Model folder (weights and tokenizer).
        corpus: Corpus artifact of the language: `train.jsonl` is trained on, `dev.jsonl` validates.
        recipe: Stages, budgets in bytes, rates.
        out: Folder of the trained model.
        english: English corpus artifact: replay, and validation of what is forgotten.
        seed: Order of the documents, and dropout where a model has it.
        checkpoints: Folder of checkpoints (default: a hidden folder beside `out`).
        device: "auto" (CUDA if there is one), "cpu" or "cuda".
        threads: Threads on the processor (default: OMP_NUM_THREADS, else all cores).
        trust_remote_code: Run Python code that the model folder brings.

    Returns:
        The content of training.json.

    Raises:
        ConfigError: Device or recipe do not fit this machine or model.
        DataError: A corpus is missing, damaged or too small, or replay is asked for without English.
        ModelError: The weights cannot be used, or the loss stops being a number.
        ProcessError: One of several processes is gone.
    """
    SEEDS.check(seed, "seed")
    if threads is not None:
        THREADS.check(threads, "threads")
    inputs = {"model": Path(model), "corpus": Path(corpus)} | ({"english": Path(english)} if english else {})
    artifacts.check_place(out, "model", inputs)
    kept = Path(checkpoints or default_folder(out))
    artifacts.check_scratch(kept, "--checkpoints", {**inputs, "output": Path(out)})
    where = devices.place(recipe, device, threads)
    if not where.main:
        log.setLevel(logging.WARNING)  # what the first process says holds for all
    log.info("device %s, %d threads, process %d of %d, %s", where.device, where.threads, where.rank + 1, where.world,
             "bfloat16 autocast" if where.bfloat16 else "float32")  # fmt: skip
    if where.world > recipe.batch_size:
        log.warning("%d processes share %d sequences a step: some have nothing to do", where.world, recipe.batch_size)
    torch.manual_seed(seed)
    # --- everything that can be wrong is looked at before anything is computed
    begun = artifacts.begin(out, "model", inputs if where.main else {})  # one process hashes for all
    texts = _Texts(corpus, english, recipe)
    rows = parts.old_rows(model)
    tokenizer = load_tokenizer(model, trust_remote_code=trust_remote_code)
    network: Any = load_model(model, trust_remote_code=trust_remote_code)
    check_model(network, tokenizer)
    _check_context(network, recipe, model)
    selections = [parts.select(network, stage.train, rows) for stage in recipe.stages]
    settings = {"recipe": recipe.canonical(), "seed": seed, "device": where.device.type}
    packed = texts.pack(tokenizer, recipe, seed)
    _attention(network, where)
    network.to(where.device)
    plan = loop.Plan(recipe, packed, selections, texts.validator(network, tokenizer, recipe, where), seed)
    identity = {
        "settings": settings, "inputs": {role: artifacts.fingerprint(folder) for role, folder in inputs.items()},
        "libraries": {"torch": torch.__version__},
    }  # fmt: skip
    processes.demand_same(canonical_json(identity), where)
    store = Checkpoints(kept, identity, owned=checkpoints is None)
    if not where.main:
        loop.run(network, plan, where, store)
        processes.wait(where)
        return {}
    facts = {"threads": where.threads, "device": str(where.device), "processes": where.world}
    with artifacts.create(out, "model", settings, begun, LIBRARIES, facts) as folder:
        progress = loop.run(network, plan, where, store)
        summary = _summary(network, plan, progress, texts)
        save_model(network.cpu(), tokenizer, folder)
        _write_rows(folder / "metrics.jsonl", progress.metrics)
        _write_rows(folder / "timing.jsonl", progress.timing)
        _write_rows(folder / usage.FILE, progress.system)
        (folder / "training.json").write_text(json.dumps(summary, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        for name in CARRIED:
            if (Path(model) / name).is_file():
                shutil.copyfile(Path(model) / name, folder / name)
    store.clear()
    processes.wait(where)
    return summary


class _Texts:
    """The corpora of a run."""

    def __init__(self, corpus: Path, english: Path | None, recipe: TrainingRecipe) -> None:
        replayed = [stage.name for stage in recipe.stages if stage.replay]
        if replayed and english is None:
            raise DataError(
                f"stage {replayed[0]!r} replays English, and no English corpus is given", "give --english DIR, or set replay: 0"
            )
        same = english is not None and Path(english).resolve() == Path(corpus).resolve()
        self.train = Pages(corpus, "train")
        self.dev = {"val_bpb": Pages(corpus, "dev").sample(recipe.validation_bytes)}
        self.english: Pages | None = None
        if english is not None:
            self.english = Pages(english, "train") if replayed else None
            if not same:
                self.dev["val_bpb_english"] = Pages(english, "dev").sample(recipe.validation_bytes)
        self.same = same
        self.epochs: dict[str, float] = {}

    def pack(self, tokenizer: Any, recipe: TrainingRecipe, seed: int) -> list[Packed]:
        """Tokens of every stage; each goes on in the text where the one before has stopped."""
        target = Stream(self.train, seed)
        english = Stream(self.english, seed) if self.english is not None else None
        draw = None
        if recipe.sampling is not None:
            draw = Sampler(tokenizer, self.train.sample(recipe.sampling.fit_bytes), recipe.sampling, seed).encode
        packed = [
            pack(stage, stage_documents(stage, target, english), tokenizer, recipe.sequence_length, recipe.batch_size, draw)
            for stage in recipe.stages
        ]
        self.epochs = {"target": round(target.epochs, 4)} | ({"english": round(english.epochs, 4)} if english else {})
        for name, count in self.epochs.items():
            log.info("%s text is read %.2f times", name, count)
        return packed

    def validator(self, model: Any, tokenizer: Any, recipe: TrainingRecipe, where: devices.Place) -> Callable[[], dict[str, float]]:
        """A function that scores the dev pages with the model as it is then."""
        window = min(_context(model) or VALIDATION_WINDOW, VALIDATION_WINDOW)

        def validate() -> dict[str, float]:
            with where.autocast():
                values = {
                    name: bits_per_byte(document_bits(model, tokenizer, texts, max_tokens=window)) for name, texts in self.dev.items()
                }
            if self.same:
                values["val_bpb_english"] = values["val_bpb"]
            return values

        return validate


def _context(model: Any) -> int | None:
    config = model.config.get_text_config()
    return getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None)


def _check_context(model: Any, recipe: TrainingRecipe, folder: Path) -> None:
    if not predicts_next(model):
        raise ModelError(
            f"{folder} is a {type(model).__name__}, not a causal language model", "training predicts the next token; give a causal model"
        )
    context = _context(model)
    if context is not None and context < recipe.sequence_length:
        raise ModelError(
            f"{folder} has a context of {context} tokens, the recipe's sequences have {recipe.sequence_length}",
            f"set sequence_length to at most {context}",
        )


def _attention(model: Any, where: devices.Place) -> None:
    """Flash attention 2 where it is installed and can run; SDPA, which load_model has set, everywhere else."""
    if not where.bfloat16:
        return
    try:
        import flash_attn  # type: ignore[import-not-found]  # noqa: F401

        model.set_attn_implementation("flash_attention_2")
    except (ImportError, ValueError) as error:
        log.info("attention: SDPA (flash attention 2 not used: %s)", str(error).splitlines()[0])


def _summary(model: Any, plan: loop.Plan, progress: loop.Progress, texts: _Texts) -> dict[str, Any]:
    stages = []
    for stage, packed, selection in zip(plan.recipe.stages, plan.packed, plan.selections):
        tokens = len(packed.tokens)
        stages.append({
            "name": stage.name, "bytes": packed.bytes, "replay_bytes": packed.replay_bytes, "tokens": tokens, "steps": packed.steps,
            "documents": len(packed.ends) - 1, "trained_parameters": sum(model.get_parameter(name).numel() for name in selection.trainable),
            "flops": flops_per_token(model, selection, packed.length) * tokens,
        })  # fmt: skip
    curve = [row for row in progress.metrics if "loss" in row]
    points = [row for row in progress.metrics if "val_bpb" in row]
    totals = {key: sum(stage[key] for stage in stages) for key in ("bytes", "replay_bytes", "tokens", "steps", "flops")}
    return {
        **totals, "stages": stages, "epochs": texts.epochs, "parameters": sum(p.numel() for p in model.parameters()),
        "initial_loss": curve[0]["loss"], "final_loss": curve[-1]["loss"],
        **{f"initial_{key}": value for key, value in points[0].items() if key.startswith("val_")},
        **{f"final_{key}": value for key, value in points[-1].items() if key.startswith("val_")},
    }  # fmt: skip


def _write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    path.write_text("".join(canonical_json(dict(row)) + "\n" for row in rows), encoding="utf-8")
