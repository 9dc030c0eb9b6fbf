"""Finished artifacts of an invented experiment in the layout that the stages write, made through `artifacts.create`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from tokgraft import artifacts
from tokgraft.config import layout
from tokgraft.scoring.results import carry_records

# method -> (bits per byte right after the transplant, after training) of the invented experiment
LEVELS = {"none": (2.4, 1.9), "random": (5.6, 2.6), "mean": (3.1, 2.0), "multivariate": (4.9, 2.5), "focus": (2.9, 1.95)}
TOKENS_PER_BYTE = {"original": 0.52, "bpe8k": 0.31}
VOCAB = {"original": 16384, "bpe8k": 8192}
HARDER: dict[str, float] = {}  # tokenizer -> bits per byte that it costs
SUFFIX: dict[str, str] = {}  # model or tokenizer -> what the names of its tasks end in, such as "-small"; "+" between two sets of tasks
UNASKED: dict[str, tuple[str, ...]] = {}  # model or model/method -> tasks that it was not scored on
SPEED: dict[str, str] = {}  # tokenizer -> why its speed was not measured alone
TASKS = {"bpb": ("bits_per_byte", "target"), "bpb-english": ("bits_per_byte", "english"), "heading": ("heading", "target"),
         "continuation": ("continuation", "target")}  # fmt: skip
HOW = {
    "none": {"copied": 16381, "role": 3},
    "random": {"random": 8189, "role": 3},
    "mean": {"copied": 2000, "combined": 6170, "role": 3, "fallback": 19},
    "focus": {"copied": 2000, "combined": 4000, "mapped": 1000, "role": 3, "random": 1189},
}  # method -> where its rows come from
DEMO = [
    ("pocket", "deu_Latn", list(LEVELS)),
    ("pocket", "ell_Grek", list(LEVELS)),
    ("smollm2-135m", "deu_Latn", ["none", "random", "mean"]),
]


def build(root: Path, demo=DEMO, seeds=(0,), pages: int = 40, zero_shot: bool = False) -> Path:
    """Write a tree of artifacts below `root` (paths in the cell list are relative to it); the path of its cell list.

    `demo` holds (model, language, methods) or (model, language, methods, tokenizer).
    """
    cells = []
    for model, language, methods, *tokenizers in demo:
        _shared(root, model, language)
        for method in methods:
            tokenizer = "original" if method.split("+")[0] == "none" else [*tokenizers, "bpe8k"][0]
            for seed in seeds:
                cells.append(_cell(root, model, language, tokenizer, method, layout.INIT if zero_shot else f"{model}-demo", seed, pages))
    listing = {
        "experiment": "demo", "description": "An invented experiment.", "cells": cells,
        "names": {"languages": {"deu_Latn": "German", "ell_Grek": "Greek"}, "models": {"pocket": "Pocket", "smollm2-135m": "SmolLM2 135M"}},
    }  # fmt: skip
    path = root / layout.cells("demo")
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(listing, indent=1))
    return path


def write_scores(
    folder: Path, model_folder: Path, place: str, method: str, tokenizer: str, stage: int, seed: int = 0, pages: int = 40, shift: float = 0.0
) -> None:  # fmt: skip
    rng = np.random.default_rng([*place.encode(), *method.encode(), stage, seed])
    shared = np.random.default_rng([*place.encode()])
    sizes, hard = shared.integers(150, 480, pages), shared.normal(0, 0.25, pages)
    tasks, samples = {}, {}
    model = place.split("/")[0]
    endings = SUFFIX.get(tokenizer, SUFFIX.get(model, "")).split("+")
    unasked = {*UNASKED.get(model, ()), *UNASKED.get(f"{model}/{method}", ())}
    asked = {f"{name}{ending}": kind for ending in endings for name, kind in TASKS.items() if name not in unasked}
    for task, (builder, language) in asked.items():
        count = pages // 2 if task.endswith("-small") else pages
        if builder == "bits_per_byte":
            levels = LEVELS.get(f"{model}/{method}", LEVELS[method])
            level = levels[stage] + HARDER.get(tokenizer, 0.0) + shift + (1.1 if language == "english" and method != "none" else 0.0)
            bits = (sizes * (level + hard + rng.normal(0, 0.05, pages)))[:count]
            rows = [{"id": f"p{i}:0", "page": f"p{i}", "bits": float(bits[i]), "bytes": int(sizes[i])} for i in range(count)]
            metrics = {"bits_per_byte": float(bits.sum() / sizes[:count].sum())}
            tasks[task] = {"builder": builder, "language": language, "metrics": metrics, "n": count, "chance": None}
        else:
            right = (rng.random(2 * pages) < (0.25 if method == "random" and not stage else 0.36)).astype(int)
            rows = [
                {"id": f"i{i}", "page": f"p{i // 2}", "acc": int(r), "acc_norm": int(r), "acc_bytes": int(r)} for i, r in enumerate(right)
            ]
            metrics = dict.fromkeys(("acc", "acc_norm", "acc_bytes"), float(right.mean()))
            tasks[task] = {
                "builder": builder,
                "language": language,
                "metrics": metrics,
                "n": 2 * pages,
                "pages": pages,
                "chance": 0.25,
                "baselines": {"shortest": 0.27},
            }
        samples[task] = rows
    per_byte = TOKENS_PER_BYTE[tokenizer]
    flat = float(np.log2(VOCAB[tokenizer]) * per_byte)
    for task in (name for name, facts in tasks.items() if facts["builder"] == "bits_per_byte"):
        tasks[task] |= {"flat_guess": flat, "tokens_per_byte": per_byte, "pages": tasks[task]["n"]}
    identity = {"fingerprint": artifacts.fingerprint(model_folder), "tokens": VOCAB[tokenizer], "rows": VOCAB[tokenizer]}
    results = next(parent for parent in folder.parents if parent.name == "scores").parent
    texts = {role: results / "corpora" / slug for role, slug in (("corpus", place.split("/")[1]), ("english", layout.ENGLISH))}
    inputs = {"model": model_folder, **texts}
    scores = {"schema": 1, "model": identity, "tasks": tasks, "skipped": {}, "language": place.split("/")[1]}
    with artifacts.create(folder, "scores", {"tasks": sorted(TASKS)}, inputs) as temporary:
        carry_records(model_folder, temporary)
        (temporary / "scores.json").write_text(json.dumps(scores, indent=1, sort_keys=True))
        (temporary / "samples").mkdir()
        for task, rows in samples.items():
            (temporary / "samples" / f"{task}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def _shared(root: Path, model: str, language: str) -> None:
    _write(root / layout.base(model), "model", {"model.safetensors": model * 50, "config.json": "{}"})
    for slug in (language, layout.ENGLISH):
        splits = {"train": {"bytes": 1_400_000, "pages": 700}, "test": {"bytes": 150_000, "pages": 80}}
        card = {"id": slug, "splits": splits, "sources": [{"kind": "local", "register": "invented prose"}]}
        _write(root / layout.corpus(slug), "corpus", {"card.json": json.dumps(card)})
    for recipe in TOKENS_PER_BYTE:
        per_byte = TOKENS_PER_BYTE[recipe]
        target = {
            "tokens_per_byte": per_byte,
            "fertility": 6 * per_byte,
            "continued_words": per_byte,
            "bytes_per_token_interval": [1.0, 2.0],
        }
        metrics = {"target": target, "parallel": {"premium": 2 * per_byte}, "size": VOCAB[recipe]}
        _write(root / layout.tokenizer(model, language, recipe), "tokenizer", {"metrics.json": json.dumps(metrics), "tokenizer.json": "{}"})


def _cell(root: Path, model: str, language: str, tokenizer: str, method: str, recipe: str, seed: int, pages: int) -> dict:
    place = (model, language, tokenizer, method, seed)
    init, trained = root / layout.adapted(*place, layout.INIT), root / layout.adapted(*place, recipe)
    weights = model * 50 if method == "none" else f"{place}"
    stats = {"method": method, "how": HOW.get(method.split("+")[0], HOW["mean"])}
    _write(init, "model", {"model.safetensors": weights, "transplant.json": json.dumps(stats)},
           {"model": root / layout.base(model), "tokenizer": root / layout.tokenizer(model, language, tokenizer)},
           {"timing.json": json.dumps({"rows": 1.5, "model": 0.5, "flops": 7_000_000, "resources": {"token_vectors": 40.0},
                                      "processor": 1.2, "resources_processor": {"token_vectors": 33.0}})})  # fmt: skip
    start, end = LEVELS[method]
    curve = [
        {
            "step": 50 * i,
            "bytes": 60_000 * i,
            "loss": 9 - i,
            "lr": 1e-3,
            "val_bpb": end + (start - end) * 0.5**i,
            "val_bpb_english": 3.0 + 0.1 * i,
        }
        for i in range(6)
    ]
    totals = {
        "bytes": 300_000,
        "tokens": int(300_000 * TOKENS_PER_BYTE[tokenizer]),
        "steps": 250,
        "flops": 4.2e12 * TOKENS_PER_BYTE[tokenizer],
    }
    files = {"model.safetensors": weights + "+", "metrics.jsonl": "".join(json.dumps(row) + "\n" for row in curve),
             "training.json": json.dumps(totals)}  # fmt: skip
    usage = [{"time": 1_790_000_000_000 + 1000 * i, "step": 50 * i, "cpu_utilization_percentage": 80.0 + i} for i in range(5)]
    changing = {"timing.jsonl": json.dumps({"step": 250, "tokens_per_second": 1234.5}) + "\n",
                "system.jsonl": "".join(json.dumps(row) + "\n" for row in usage)}  # fmt: skip
    if recipe != layout.INIT:
        _write(trained, "model", files, {"model": init}, changing)
    name = f"{model}/{language}"
    for stage, (folder, slug) in enumerate({layout.INIT: (init, layout.INIT), recipe: (trained, recipe)}.values()):
        write_scores(root / layout.scores(*place, slug), folder, name, method, tokenizer, stage, seed, pages)
    paths = {
        "base": layout.base(model), "corpus": layout.corpus(language), "english": layout.corpus(layout.ENGLISH),
        "tokenizer": layout.tokenizer(model, language, tokenizer), "init": layout.adapted(*place, layout.INIT),
        "score_init": layout.scores(*place, layout.INIT),
    }  # fmt: skip
    if tokenizer != "original":
        paths["speed"] = layout.speed(model, language, tokenizer)
        made_from = {"base": layout.base(model), "tokenizer": paths["tokenizer"], "corpus": paths["corpus"]}
        write_speed(root / paths["speed"], tokenizer, SPEED.get(tokenizer), {role: root / folder for role, folder in made_from.items()})
    if recipe != layout.INIT:
        paths |= {"trained": layout.adapted(*place, recipe), "score_trained": layout.scores(*place, recipe)}
    return {
        "model": model,
        "language": language,
        "tokenizer": tokenizer,
        "method": method,
        "chain": method,
        "recipe": recipe,
        "seed": seed,
        "paths": paths,
        "reason": None,
    }


def write_speed(folder: Path, tokenizer: str, reason: str | None = None, inputs: dict[str, Path] | None = None) -> None:
    """A speed artifact of 5 repeats at 40 tokens/s before and after; with a reason: one that found the machine busy."""
    alone = {"alone": reason is None, "reason": reason or "", "limit": 0.1, "tries": 1 if reason is None else 0}
    repeats = []
    for number in range(5):
        seconds = {"before": 2.5 * TOKENS_PER_BYTE["original"], "after": (2.5 + 0.01 * number) * TOKENS_PER_BYTE[tokenizer]}
        tokens = {"before": int(100 * TOKENS_PER_BYTE["original"]), "after": int(100 * TOKENS_PER_BYTE[tokenizer])}
        runs = {side: {"bytes": 100, "tokens": tokens[side], "seconds": seconds[side]} for side in seconds}
        repeats.append({side: {"reading": one, "generation": one} for side, one in runs.items()})
    content = {"alone": alone, "device": "cpu", "cores": 2, "threads": 2, "passages": 1, "repeats": [] if reason else repeats}
    _write(folder, "speed", {"passages.jsonl": "{}\n"}, inputs, {"speed.json": json.dumps(content)})


def _write(folder: Path, kind: str, files: dict[str, str], inputs: dict | None = None, volatile: dict[str, str] | None = None) -> None:
    with artifacts.create(folder, kind, {"files": sorted(files)}, inputs) as temporary:
        for name, text in {**files, **(volatile or {})}.items():
            (temporary / name).write_text(text)
