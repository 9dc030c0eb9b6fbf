"""`tokgraft score`: bits per byte and choice tasks of a model on held-out pages, through lm-evaluation-harness."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from tokgraft import launch, skipping
from tokgraft.cli import _arguments as arguments

if TYPE_CHECKING:
    from tokgraft.config.task import Task

HELP = "score a model: bits per byte and choice tasks on held-out pages"
EXTRA = "score"
EXAMPLES = """  tokgraft score --model results/models/pocket/base --corpus results/corpora/deu_Latn --english results/corpora/eng_Latn \\
      --tasks bpb bpb-english heading --out results/scores/alone
  tokgraft score --model my/model --corpus results/corpora/ell_Grek --tasks config/tasks/bpb.yaml --device cuda --out my/scores
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument("--model", type=arguments.model, required=True, metavar="DIR", help="model folder with its tokenizer")
    parser.add_argument("--corpus", type=arguments.folder, required=True, metavar="DIR", help="corpus artifact of the language")
    parser.add_argument("--english", type=arguments.folder, metavar="DIR", help="English corpus, for tasks that measure forgetting")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--tasks", type=arguments.text, nargs="+", metavar="TASK", help="slugs of config/tasks/, or YAML files")
    what.add_argument("--settings", type=arguments.settings, metavar="JSON", help='tasks as JSON: {"name": {settings}, ...}')
    parser.add_argument("--out", type=arguments.place, required=True, metavar="DIR", help="folder to write")
    skipping.add_arguments(parser)
    parser.add_argument(
        "--config", type=arguments.folder, default=Path("config"), metavar="DIR", help="configuration folder (default: config)"
    )
    parser.add_argument("--templates", type=arguments.folder, metavar="DIR", help="folder of harness templates (default: config/lm_eval)")
    parser.add_argument("--device", type=arguments.device, default="auto", help="auto, cpu, cuda, cuda:1, ...")
    parser.add_argument("--threads", type=arguments.threads, metavar="N", help="CPU threads")
    arguments.add_devices(parser)
    parser.add_argument(
        "--batch-tokens", type=arguments.batch, metavar="N", help="tokens of one forward pass (default: 1024 on CPU, 32768 on a GPU)"
    )
    parser.add_argument("--online", action="store_true", help="let harness tasks reach the Hub; otherwise they are skipped")
    parser.add_argument("--trust-remote-code", action="store_true", help="run Python code that the model folder brings")
    arguments.add_force(parser)


def run(args: argparse.Namespace) -> int:
    """Score."""
    from tokgraft import logs
    from tokgraft.config.task import Task
    from tokgraft.scoring.run import score

    if args.settings is not None:
        tasks = {name: Task.parse(values, f"task {name}") for name, values in args.settings.items()}
    else:
        tasks = _load(args.tasks, args.config)
    tasks = {
        name: _of_language(task, args.english if task.language == "english" else args.corpus, args.config) for name, task in tasks.items()
    }
    templates = args.templates or (args.config / "lm_eval" if (args.config / "lm_eval").is_dir() else None)
    launch.begin(launch.LaunchRequest(gpus=args.gpus))
    logs.opening({"tasks": {name: task.canonical() for name, task in tasks.items()}, "device": args.device, "threads": args.threads})
    result = score(
        args.model, args.corpus, tasks, args.out, english=args.english, device=args.device, threads=args.threads, templates=templates,
        online=args.online, batch_tokens=args.batch_tokens, trust_remote_code=args.trust_remote_code,
    )  # fmt: skip
    for name, facts in sorted(result["tasks"].items()):
        values = ", ".join(f"{metric} {value:.4f}" for metric, value in facts["metrics"].items())
        flat = f", uniform baseline {facts['flat_guess']:.2f}" if "flat_guess" in facts else ""
        chance = f", chance {facts['chance']:.2f}" if facts.get("chance") is not None else ""
        print(f"{name}: {values} (n = {facts['n']}{chance}{flat})")
    for name, reason in sorted(result["skipped"].items()):
        print(f"{name}: skipped, {reason}")
    return 0


def _of_language(task: Task, corpus: Path | None, root: Path) -> Task:
    """The task with the harness tasks that the file of the corpus' language names, where there is such a file."""
    if task.builder != "hub" or task.names or corpus is None:
        return task
    from tokgraft import documents
    from tokgraft.config.language import Language

    slug = documents.about(corpus).slug
    return task.of_language(slug, Language.load(slug, root).hub_tasks if (root / Language.folder / f"{slug}.yaml").is_file() else [])


def _load(names: list[str], root: Path) -> dict[str, Task]:
    """The tasks by the names of their files.

    Raises:
        ConfigError: One is unknown, or two have one name.
    """
    from tokgraft.config.task import Task
    from tokgraft.errors import ConfigError

    found: dict[str, Task] = {}
    for name in names:
        if (slug := Path(name).stem) in found:
            raise ConfigError(f"two tasks are called {slug}", "name each once, or rename a file")
        found[slug] = Task.load(name, root)
    return found
