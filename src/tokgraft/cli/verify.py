"""`tokgraft verify`: recompute the hashes of artifacts and name what does not match."""

from __future__ import annotations

import argparse
from pathlib import Path

from tokgraft.cli import _arguments as arguments

HELP = "recompute the hashes of artifacts, compare each with the inputs that it was made from, and name what does not match"
EXAMPLES = """  tokgraft verify results
  tokgraft verify results/models/pocket/deu_Latn/bpe8k/focus/s0/init
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument("folders", nargs="+", type=arguments.folder, metavar="FOLDER", help="artifact, or a folder that holds artifacts")


def run(args: argparse.Namespace) -> int:
    """Verify; 1 when something does not match."""
    from tokgraft import artifacts
    from tokgraft.errors import ArtifactError
    from tokgraft.logs import Heartbeat

    problems = 0

    def say(line: str) -> None:
        print(line.encode(errors="backslashreplace").decode(), flush=True)

    def tell(found: list[str]) -> None:
        nonlocal problems
        problems += len(found)
        for problem in found:
            say(problem)

    whole: set[Path] = set()
    aside: set[Path] = set()
    for folder in args.folders:
        try:
            found, kept = artifacts.find(folder), artifacts.put_aside(folder)
        except ArtifactError as error:
            tell([error.what])
            continue
        if not (found or kept):
            raise ArtifactError(f"no artifact in {folder}", "give a folder that holds a manifest.json")
        whole.update(found)
        aside.update(kept)
    heartbeat = Heartbeat("verifying", len(whole), "artifacts")
    for number, folder in enumerate(sorted(whole)):
        tell([*artifacts.verify(folder), *artifacts.outdated(folder)])
        heartbeat.beat(number + 1)
    if unrecorded := [folder for folder in whole if artifacts.is_artifact(folder) and not (folder / artifacts.RUN).is_file()]:
        say(
            f"note: {len(unrecorded)} of them have no {artifacts.RUN} ({artifacts.in_order(map(str, unrecorded))}): "
            f"edits of their manifests, of files outside the hashes and of inputs would not be seen"
        )
    if aside:
        say(
            f"note: a pull put damaged artifacts aside ({artifacts.in_order(map(str, aside))}): "
            f"take files of yours out of them, and delete them"
        )
    print(f"{len(whole)} artifacts, {problems} problems")
    return 1 if problems else 0
