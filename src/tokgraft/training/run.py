"""Continual training of a model folder on a corpus: checks first, then the loop, then a complete model folder."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from tokgraft import artifacts
from tokgraft.artifacts import canonical_json
from tokgraft.config.bounds import SEEDS, THREADS
from tokgraft.config.recipe import TrainingRecipe
from tokgraft.errors import ModelError
from tokgraft.logs import log
from tokgraft.models.io import check_model, load_model, load_tokenizer, save_model
from tokgraft.models.kinds import predicts_next
from tokgraft.training import parts, processes, usage
from tokgraft.training.checkpointer import Checkpointer, Progress
from tokgraft.training.checkpoints import CheckpointFolder, default_folder
from tokgraft.training.cost import flops_per_token
from tokgraft.training.data_source import PackedText
from tokgraft.training.device import DeviceContext, device_context
from tokgraft.training.loop import TrainingPlan, run_training
from tokgraft.training.objectives import OBJECTIVES
from tokgraft.training.text import TrainingText
from tokgraft.training.validation import Validation, context_length

LIBRARIES = ("torch", "transformers", "tokenizers", "safetensors", "numpy")
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
    for stage in recipe.stages:
        OBJECTIVES.get(stage.objective, f"stage {stage.name}")
    context = device_context(recipe, device, threads)
    if not context.main:
        log.setLevel(logging.WARNING)  # what the first process says holds for all
    log.info("device %s, %d threads, process %d of %d, %s", context.device, context.threads, context.rank + 1, context.world,
             "bfloat16 autocast" if context.bfloat16 else "float32")  # fmt: skip
    if context.world > recipe.batch_size:
        log.warning("%d processes share %d sequences a step: some have nothing to do", context.world, recipe.batch_size)
    torch.manual_seed(seed)
    # --- everything that can be wrong is looked at before anything is computed
    begun = artifacts.begin(out, "model", inputs if context.main else {})  # one process hashes for all
    text = TrainingText(corpus, english, recipe)
    rows = parts.old_rows(model)
    tokenizer = load_tokenizer(model, trust_remote_code=trust_remote_code)
    network: Any = load_model(model, trust_remote_code=trust_remote_code)
    check_model(network, tokenizer)
    _check_context(network, recipe, model)
    selections = [parts.select(network, stage.train, rows) for stage in recipe.stages]
    settings = {"recipe": recipe.canonical(), "seed": seed, "device": context.device.type}
    sources = text.sources(tokenizer, recipe, seed)
    _attention(network, context)
    network.to(context.device)
    plan = TrainingPlan(recipe, sources, selections, Validation(network, tokenizer, text, context), seed)
    identity = {
        "settings": settings, "inputs": {role: artifacts.fingerprint(folder) for role, folder in inputs.items()},
        "libraries": {"torch": torch.__version__},
    }  # fmt: skip
    processes.demand_same(canonical_json(identity), context)
    store = CheckpointFolder(kept, identity, owned=checkpoints is None)
    checkpointer = Checkpointer(store, network, context)
    if not context.main:
        run_training(network, plan, context, checkpointer)
        processes.wait(context)
        return {}
    facts = {"threads": context.threads, "device": str(context.device), "processes": context.world}
    with artifacts.create(out, "model", settings, begun, LIBRARIES, facts) as folder:
        progress = run_training(network, plan, context, checkpointer)
        summary = _summary(network, plan, sources, progress, text.epochs)
        save_model(network.cpu(), tokenizer, folder)
        _write_rows(folder / "metrics.jsonl", progress.metrics)
        _write_rows(folder / "timing.jsonl", progress.timing)
        _write_rows(folder / usage.FILE, progress.system)
        (folder / "training.json").write_text(json.dumps(summary, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        for name in CARRIED:
            if (Path(model) / name).is_file():
                shutil.copyfile(Path(model) / name, folder / name)
    store.clear()
    processes.wait(context)
    return summary


def _check_context(model: Any, recipe: TrainingRecipe, folder: Path) -> None:
    if not predicts_next(model):
        raise ModelError(
            f"{folder} is a {type(model).__name__}, not a causal language model", "training predicts the next token; give a causal model"
        )
    length = context_length(model)
    if length is not None and length < recipe.sequence_length:
        raise ModelError(
            f"{folder} has a context of {length} tokens, the recipe's sequences have {recipe.sequence_length}",
            f"set sequence_length to at most {length}",
        )


def _attention(model: Any, context: DeviceContext) -> None:
    """Flash attention 2 where it is installed and can run; SDPA, which load_model has set, everywhere else."""
    if not context.bfloat16:
        return
    try:
        import flash_attn  # type: ignore[import-not-found]  # noqa: F401

        model.set_attn_implementation("flash_attention_2")
    except (ImportError, ValueError) as error:
        log.info("attention: SDPA (flash attention 2 not used: %s)", str(error).splitlines()[0])


def _summary(
    model: Any, plan: TrainingPlan, sources: list[PackedText], progress: Progress, epochs: Mapping[str, float]
) -> dict[str, Any]:  # fmt: skip
    stages = []
    for stage, text, selection in zip(plan.recipe.stages, sources, plan.selections):
        stages.append({
            "name": stage.name, "bytes": text.bytes, "replay_bytes": text.replay_bytes, "tokens": text.count, "steps": text.steps,
            "documents": len(text.ends) - 1, "trained_parameters": sum(model.get_parameter(name).numel() for name in selection.trainable),
            "flops": flops_per_token(model, selection, text.length) * text.count,
        })  # fmt: skip
    curve = [row for row in progress.metrics if "loss" in row]
    points = [row for row in progress.metrics if "val_bpb" in row]
    totals = {key: sum(stage[key] for stage in stages) for key in ("bytes", "replay_bytes", "tokens", "steps", "flops")}
    return {
        **totals, "stages": stages, "epochs": dict(epochs), "parameters": sum(p.numel() for p in model.parameters()),
        "initial_loss": curve[0]["loss"], "final_loss": curve[-1]["loss"],
        **{f"initial_{key}": value for key, value in points[0].items() if key.startswith("val_")},
        **{f"final_{key}": value for key, value in points[-1].items() if key.startswith("val_")},
    }  # fmt: skip


def _write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    path.write_text("".join(canonical_json(dict(row)) + "\n" for row in rows), encoding="utf-8")
