"""`tokgraft score`: bits per byte, choice tasks and speed of a model on held-out pages, through lm-evaluation-harness."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tokgraft import launch, skipping

HELP = "score a model: bits per byte, choice tasks and generation speed on held-out pages"
EXAMPLES = """  tokgraft score --model results/models/pocket/base --corpus results/corpora/deu_Latn --english results/corpora/eng_Latn \\
      --tasks bpb bpb-english heading --out results/scores/alone
  tokgraft score --model my/model --corpus results/corpora/ell_Grek --tasks config/tasks/bpb.yaml --device cuda --out my/scores
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument("--model", type=Path, required=True, metavar="DIR", help="model folder with its tokenizer")
    parser.add_argument("--corpus", type=Path, required=True, metavar="DIR", help="corpus artifact of the language")
    parser.add_argument("--english", type=Path, metavar="DIR", help="English corpus, for tasks that measure forgetting")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--tasks", nargs="+", metavar="TASK", help="slugs of config/tasks/, or YAML files")
    what.add_argument("--settings", metavar="JSON", help='tasks as JSON: {"name": {settings}, ...}')
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    skipping.add_arguments(parser)
    parser.add_argument("--config", type=Path, default=Path("config"), metavar="DIR", help="configuration folder (default: config)")
    parser.add_argument("--templates", type=Path, metavar="DIR", help="folder of harness templates (default: config/lm_eval)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ...")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads")
    launch.add_arguments(parser)
    parser.add_argument("--batch-tokens", type=int, metavar="N", help="tokens of one forward pass (default: 1024 on CPU, 32768 on a GPU)")
    parser.add_argument("--online", action="store_true", help="let harness tasks reach the Hub; otherwise they are skipped")
    parser.add_argument("--no-speed", action="store_true", help="do not measure generation speed")
    parser.add_argument("--trust-remote-code", action="store_true", help="run Python code that the model folder brings")


def run(args: argparse.Namespace) -> int:
    """Score."""
    from tokgraft import logs
    from tokgraft.config.task import Task
    from tokgraft.errors import ConfigError
    from tokgraft.scoring.run import score

    if args.settings:
        try:
            given = json.loads(args.settings)
        except json.JSONDecodeError as error:
            raise ConfigError(f"--settings is not JSON: {error}", 'give {"name": {settings}, ...}') from None
        if not isinstance(given, dict):
            raise ConfigError("--settings must map names to settings", 'give {"name": {settings}, ...}')
        tasks = {name: Task.parse(values, f"task {name}") for name, values in given.items()}
    else:
        tasks = {Path(name).stem: Task.load(name, args.config) for name in args.tasks}
    templates = args.templates or (args.config / "lm_eval" if (args.config / "lm_eval").is_dir() else None)
    launch.begin(launch.Request(gpus=args.gpus))
    logs.opening({"tasks": {name: task.canonical() for name, task in tasks.items()}, "device": args.device, "threads": args.threads})
    result = score(
        args.model, args.corpus, tasks, args.out, english=args.english, device=args.device, threads=args.threads, templates=templates,
        online=args.online, batch_tokens=args.batch_tokens, speed=not args.no_speed, trust_remote_code=args.trust_remote_code,
    )  # fmt: skip
    for name, facts in sorted(result["tasks"].items()):
        values = ", ".join(f"{metric} {value:.4f}" for metric, value in facts["metrics"].items())
        flat = f", flat guess {facts['flat_guess']:.2f}" if "flat_guess" in facts else ""
        chance = f", chance {facts['chance']:.2f}" if facts.get("chance") is not None else ""
        print(f"{name}: {values} (n = {facts['n']}{chance}{flat})")
    for name, reason in sorted(result["skipped"].items()):
        print(f"{name}: skipped, {reason}")
    return 0
