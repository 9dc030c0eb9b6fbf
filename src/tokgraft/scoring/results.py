"""From the harness's results to `scores.json` and `samples/<task>.jsonl`."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tokgraft import artifacts
from tokgraft.artifacts import canonical_json
from tokgraft.config import layout
from tokgraft.config.task import Task
from tokgraft.scoring import statistics
from tokgraft.scoring.tasks import Builder, Items, _choices

DIGITS = 6  # of numbers in samples and scores: below float32 rounding of a document's bits
RECORDS = (artifacts.MANIFEST, "transplant.json", "training.json", "metrics.jsonl")
CHANGING_RECORDS = (artifacts.RUN, *sorted(artifacts.VOLATILE["model"]))  # these differ from run to run
CHOICE_METRICS = ("acc", "acc_norm", "acc_bytes")


def item_set(documents: Sequence[Mapping[str, Any]]) -> str:
    """SHA-256 of the items: equal for all models that were asked the same."""
    return hashlib.sha256(canonical_json(list(documents)).encode()).hexdigest()


def write_lines(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """One JSON object a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record, sort_keys=True, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")


def carry_records(model: Path, folder: Path) -> None:
    """Copy what is written about a model (settings, totals, learning curve) beside its scores, so that tables need no model."""
    if not artifacts.is_artifact(model):
        return
    (folder / layout.RECORDS).mkdir()
    for name in (*RECORDS, *CHANGING_RECORDS):
        if (model / name).is_file():
            shutil.copyfile(model / name, folder / layout.RECORDS / name)


def own_records(documents: Sequence[Mapping[str, Any]], samples: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One record per item from the harness's samples, sorted by id; no text of the corpus, only ids and numbers."""
    by_number = {int(sample["doc_id"]): sample for sample in samples}
    records = []
    for number, document in enumerate(documents):
        sample = by_number[number]
        record: dict[str, Any] = {"id": document["id"], "page": document["page"]}
        if "choices" in document:
            record |= {metric: int(sample[metric]) for metric in CHOICE_METRICS if metric in sample}
            record["loglikelihoods"] = [round(float(response[0]), DIGITS) for response in sample["filtered_resps"]]
            record |= {"label": document["label"], "sources": list(document.get("sources", ()))}
        else:
            loglikelihood, size = sample["bits_per_byte"]
            record |= {"bits": round(-float(loglikelihood) / math.log(2), DIGITS), "bytes": int(size)}
        records.append(record)
    return sorted(records, key=lambda record: str(record["id"]))


def own_facts(
    task: Task, builder: Builder, items: Items, records: Sequence[Mapping[str, Any]], tokens: Sequence[int], rows: int
) -> dict[str, Any]:  # fmt: skip
    """What scores.json says about one of our own tasks.

    Args:
        task: Its settings.
        builder: Its builder.
        items: Its items.
        records: Its samples.
        tokens: Tokens of each document, or of all choices of each item, without the prefix.
        rows: Rows of the head, over which the uniform baseline spreads its probability.
    """
    facts: dict[str, Any] = {
        "builder": task.builder,
        "language": task.language,
        "n": len(records),
        "pages": len({record["page"] for record in records}),
        "item_set": item_set(items.documents),
        "dropped": dict(sorted(items.dropped.items())),
        "chance": builder.chance,
        "tokens": sum(tokens),
        "longest": max(tokens),
    }
    if "choices" in items.documents[0]:
        samples = {metric: statistics.from_records(records, metric) for metric in CHOICE_METRICS if metric in records[0]}
        size = sum(len(choice.encode()) for document in items.documents for choice in document["choices"])
        facts["baselines"] = _rounded(_choices.baselines(items.documents))
    else:
        samples = {"bits_per_byte": statistics.from_records(records)}
        size = sum(int(record["bytes"]) for record in records)
        facts["flat_guess"] = round(math.log2(rows) * sum(tokens) / size, DIGITS)
    facts["bytes"] = size
    facts["tokens_per_byte"] = round(sum(tokens) / size, DIGITS)
    facts["metrics"] = _rounded({name: one.score for name, one in samples.items()})
    errors = {name: statistics.standard_error(one) for name, one in samples.items()}
    facts["stderr"] = {name: round(value, DIGITS) if math.isfinite(value) else None for name, value in errors.items()}
    return facts


def harness_facts(results: Mapping[str, Any], name: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """(facts, samples) of one of the harness's own tasks."""
    values = results["results"][name]
    metrics = {
        key.removesuffix(",none").replace(",", "/"): round(float(value), DIGITS)
        for key, value in values.items()
        if "," in key and "_stderr" not in key and isinstance(value, int | float)
    }
    records = []
    for sample in results["samples"][name]:
        record = {"id": str(sample["doc_id"]), "hash": sample["doc_hash"]}
        for metric in sample["metrics"]:
            value = sample[metric]
            if isinstance(value, int | float):
                record[metric] = round(float(value), DIGITS)
            elif metric == "bits_per_byte":
                record |= {"bits": round(-float(value[0]) / math.log(2), DIGITS), "bytes": int(value[1])}
        records.append(record)
    version = results.get("versions", {}).get(name)
    return {"builder": "hub", "n": len(records), "chance": None, "metrics": metrics, "version": version}, records


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(float(value), DIGITS) for name, value in values.items()}
