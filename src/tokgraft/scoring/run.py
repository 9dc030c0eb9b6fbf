"""Score a model: held-out text and harness tasks -> scores.json, samples per document."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tokgraft import artifacts
from tokgraft.config import harness_files
from tokgraft.config.base import HARNESS_NAME, as_slug
from tokgraft.config.bounds import THREADS
from tokgraft.config.task import Task
from tokgraft.errors import ConfigError, ModelError, unknown
from tokgraft.logs import log
from tokgraft.scoring import results
from tokgraft.scoring.device import find_device
from tokgraft.scoring.heldout import Held, read_held
from tokgraft.scoring.offline import guard, hub_reachable
from tokgraft.scoring.tasks import TASKS, Builder, Items, SkipTask

LIBRARIES = ("lm_eval", "torch", "transformers", "tokenizers")
BATCH_TOKENS = {"cpu": 1024, "cuda": 32_768}
ENGLISH = "eng_Latn"


@dataclass(frozen=True)
class Plan:
    """A task that will be run.

    Attributes:
        slug: Its name.
        task: Its settings.
        builder: Its builder.
        items: What it asks.
        template: File of the harness template; None for harness tasks by name.
    """

    slug: str
    task: Task
    builder: Builder
    items: Items
    template: Path | None = None


def score(
    model: Path,
    corpus: Path,
    tasks: Mapping[str, Task],
    out: Path,
    *,
    english: Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    templates: Path | None = None,
    online: bool = False,
    batch_tokens: int | None = None,
    trust_remote_code: bool = False,
) -> dict[str, Any]:
    """Score one model on tasks and write a scores artifact.

    Args:
        model: Folder of a causal language model with its tokenizer.
        corpus: Corpus artifact of the language.
        tasks: Slug -> settings.
        out: Folder to write.
        english: English corpus, for tasks with `language: english`; not needed when the corpus itself is English.
        device: `cpu`, `cuda`, ... or `auto`: CUDA when there is one.
        threads: CPU threads (default: as torch chooses).
        templates: Folder of harness templates (default: config/lm_eval here, else beside the source of this package).
        online: Let harness tasks reach the Hub. Otherwise they are skipped and any connection is an error.
        batch_tokens: Tokens of one forward pass (default: 1,024 on CPU, 32,768 elsewhere).
        trust_remote_code: Run Python code that the model folder brings.

    Returns:
        The content of scores.json.

    Raises:
        ConfigError: Unknown builder or template, English asked for and not given.
        DataError: The corpus has no test page; something tried to reach the network.
        ModelError: The folder is not a whole causal model that fits its tokenizer; its context is shorter than a document; NaN.
    """
    if threads is not None:
        THREADS.check(threads, "threads")
    inputs = {"model": model, "corpus": corpus} | ({"english": english} if english is not None else {})
    begun = artifacts.begin(out, "scores", inputs)
    plans, skipped = plan(tasks, corpus, english, find_templates(templates), online)
    if not plans:
        reasons = "; ".join(f"{slug}: {reason}" for slug, reason in skipped.items())
        raise ConfigError(f"no task can be scored ({reasons or 'none was named'})", "name at least one task that the corpus allows")
    settings = {"tasks": {slug: task.recorded() for slug, task in sorted(tasks.items())}, "online": online}
    with artifacts.create(out, "scores", settings, begun, LIBRARIES) as folder, guard(online) as scratch:
        results.carry_records(model, folder)
        scored = Scorer(model, find_device(device), threads, batch_tokens, trust_remote_code)
        result = scored.run(plans, skipped, folder, scratch)
        result["language"] = read_held(corpus).slug
        (folder / "scores.json").write_text(json.dumps(result, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
    return result


def plan(
    tasks: Mapping[str, Task], corpus: Path, english: Path | None, templates: Path, online: bool
) -> tuple[list[Plan], dict[str, str]]:  # fmt: skip
    """(what will be run, slug -> why not for the others); reads corpora and templates, no model.

    Raises:
        ConfigError: Unknown builder or template; a task needs the English corpus and none was given.
        DataError: A corpus has no test page.
    """
    for slug, task in tasks.items():
        TASKS.get(task.builder, f"task {as_slug(slug, 'task')}")
    held = {"target": read_held(corpus)}
    if any(task.language == "english" for task in tasks.values()):
        held["english"] = _english(held["target"], english, tasks)
    plans, skipped = [], {}
    for slug, task in sorted(tasks.items()):
        builder = TASKS.get(task.builder)
        template = find_template(task.template or builder.template, templates, slug)
        try:
            if builder.online:
                _expect_online(online)
            plans.append(Plan(slug, task, builder, builder.build(task, held[task.language]), template))
        except SkipTask as reason:
            log.warning("task %s is skipped: %s", slug, reason)
            skipped[slug] = str(reason)
    return plans, skipped


def _english(target: Held, english: Path | None, tasks: Mapping[str, Task]) -> Held:
    if english is not None:
        return read_held(english)
    if target.slug == ENGLISH:
        return target
    named = ", ".join(slug for slug, task in tasks.items() if task.language == "english")
    raise ConfigError(f"{named} needs English test pages, and no English corpus is given", "add --english results/corpora/eng_Latn")


def _expect_online(online: bool) -> None:
    if not online:
        raise SkipTask("its data live on the Hub, and scoring runs offline (--online lets it reach the Hub)")
    if not hub_reachable():
        raise SkipTask("its data live on the Hub, which cannot be reached from here")


def find_templates(folder: Path | None) -> Path:
    """The folder of harness templates: the one given, config/lm_eval here, or the one of the checkout this package runs from."""
    places = [folder] if folder is not None else [Path("config/lm_eval"), Path(__file__).parents[3] / "config/lm_eval"]
    for place in places:
        if place.is_dir():
            return place
    raise ConfigError(f"no folder of harness templates: {places[0]}", "run in a checkout, or give --templates DIR")


def find_template(name: str | None, folder: Path, slug: str) -> Path | None:
    """The file of a harness template; None without a name.

    Raises:
        ConfigError: No such template.
    """
    if name is None:
        return None
    path = folder / f"{name}.yaml"
    if not path.is_file():
        raise unknown("template", name, (other.stem for other in folder.glob("*.yaml")), f"task {slug} (folder {folder})")
    return path.resolve()


class Scorer:
    """A model in memory and what is asked of it.

    Args:
        model: Its folder.
        device: Where it runs.
        threads: CPU threads.
        batch_tokens: Tokens of one forward pass.
        trust_remote_code: Run Python code that the folder brings.

    Raises:
        ModelError: The folder is not a whole causal model that fits its tokenizer.
    """

    def __init__(self, model: Path, device: str, threads: int | None, batch_tokens: int | None, trust_remote_code: bool) -> None:
        import torch

        from tokgraft.models.io import check_model, load_model, load_tokenizer
        from tokgraft.models.kinds import predicts_next

        if threads:
            torch.set_num_threads(threads)
        self.folder = model
        self.tokenizer = load_tokenizer(model, trust_remote_code=trust_remote_code)
        self.model = load_model(model, trust_remote_code=trust_remote_code)
        if not predicts_next(self.model):
            raise ModelError(f"{model} is a masked language model", "bits per byte and choices need a causal one")
        check_model(self.model, self.tokenizer)
        self.model.to(device)
        from tokgraft.scoring.harness import ScoredLM

        kind = torch.device(device).type
        self.lm = ScoredLM(self.model, self.tokenizer, batch_tokens=batch_tokens or BATCH_TOKENS.get(kind, BATCH_TOKENS["cuda"]))

    def run(self, plans: list[Plan], skipped: dict[str, str], folder: Path, scratch: Path) -> dict[str, Any]:
        """Run everything; samples are written to `folder`, the content of scores.json is returned."""
        tokens = {one.slug: self._count(one) for one in plans if one.template is not None}
        own = {one.slug: one for one in plans if one.template is not None}
        found = self._harness([self._configuration(one, scratch) for one in own.values()])
        facts: dict[str, dict[str, Any]] = {}
        for slug, one in own.items():
            records = results.own_records(one.items.documents, found["samples"][slug])
            results.write_lines(folder / "samples" / f"{slug}.jsonl", records)
            facts[slug] = results.own_facts(one.task, one.builder, one.items, records, tokens[slug], self.rows)
            facts[slug] |= {
                "version": found["versions"].get(slug),
                "template": artifacts.file_sha256(one.template) if one.template else None,
                "add_bos_token": self._adds_bos(one),
            }
        for one in plans:
            if one.template is None:
                facts |= self._hub(one, skipped, folder)
        return {"schema": 1, "model": self.identity(), "harness": _version("lm_eval"), "tasks": facts, "skipped": skipped}

    @property
    def rows(self) -> int:
        """Rows of the head."""
        return int(self.model.get_output_embeddings().weight.shape[0])

    def identity(self) -> dict[str, Any]:
        """Which model and tokenizer were scored, and how a text begins for them."""
        prefix = self.lm.prefix_token_id
        path = self.folder / "tokenizer.json"
        return {
            "fingerprint": artifacts.fingerprint(self.folder),
            "tokenizer": artifacts.file_sha256(path) if path.is_file() else None,
            "rows": self.rows,
            "tokens": len(self.tokenizer),
            "context": self.lm.max_length,
            "prefix_token_id": prefix,
            "prefix_token": self.tokenizer.convert_ids_to_tokens(prefix),
            "adds_prefix": self.lm.adds_prefix,
        }

    def _harness(self, configurations: list[str]) -> dict[str, Any]:
        from tokgraft.scoring.harness import run_tasks

        return run_tasks(self.lm, configurations) if configurations else {"samples": {}, "versions": {}}

    def _hub(self, one: Plan, skipped: dict[str, str], folder: Path) -> dict[str, dict[str, Any]]:
        """Harness tasks by name: each under its own name; one that cannot be loaded is skipped with the harness's reason."""
        from tokgraft.scoring.harness import run_tasks

        facts = {}
        for name in one.items.names:
            called = harness_files.label(name)
            try:
                found = run_tasks(self.lm, [name])
            except Exception as error:  # data sets fail in many ways: gone, gated, script-based, renamed
                log.warning("harness task %s is skipped: %s", name, error)
                first = str(error).replace(str(Path(name).resolve()), called).replace(name, called).splitlines()[:1]
                skipped[called] = f"{type(error).__name__}: {''.join(first)}"
                continue
            for task in found["samples"]:
                if not re.fullmatch(HARNESS_NAME, task):
                    skipped[called] = f"the task is called {task!r}, which cannot be the name of a file"
                    continue
                facts[task], records = results.harness_facts(found, task)
                facts[task]["language"] = one.task.language
                results.write_lines(folder / "samples" / f"{task}.jsonl", records)
        return facts

    def _configuration(self, one: Plan, scratch: Path) -> str:
        """File of the harness's task: the template with name and data filled in."""
        data = scratch / "items" / f"{one.slug}.jsonl"
        results.write_lines(data, one.items.documents)
        configuration = {"include": str(one.template), "task": one.slug, "dataset_kwargs": {"data_files": {"test": str(data)}}}
        path = data.with_suffix(".yaml")
        path.write_text(yaml.safe_dump(configuration), encoding="utf-8")
        return str(path)

    def _count(self, one: Plan) -> list[int]:
        """Tokens of each document (or of all choices of each item).

        Raises:
            ModelError: One is longer than the model's context.
        """
        counts = []
        for document in one.items.documents:
            if "choices" in document:
                lengths = [sum(map(len, self.lm._encode_pair(document["context"], choice))) - 1 for choice in document["choices"]]
                counts.append(sum(len(self.lm.tok_encode(choice)) for choice in document["choices"]))
            else:
                lengths = [len(self.lm.tok_encode(document["text"]))]
                counts += lengths
            if max(lengths) > self.lm.max_length:
                raise ModelError(
                    f"task {one.slug}: {document['id']} takes {max(lengths)} tokens, the model's context has {self.lm.max_length}",
                    f"set item_bytes of the task to at most {self.lm.max_length}, for all models that are to be compared",
                )
        return counts

    def _adds_bos(self, one: Plan) -> bool:
        return self.lm.adds_prefix if "choices" in one.items.documents[0] else False


def _version(distribution: str) -> str:
    import importlib.metadata

    return importlib.metadata.version(distribution)
