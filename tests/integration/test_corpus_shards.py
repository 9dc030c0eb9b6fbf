"""A shard job that is killed is run again alone."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.workflow.conftest import Project, jobs, project
from tokgraft import artifacts

__all__ = ["project"]  # a fixture
CORPUS = "results/corpora/eng_Latn/manifest.json"
WORDS = "the a cell row table column when you open close print format every other document page again without first last name".split()  # noqa: SIM905
LANGUAGE = {
    "name": "English, own text", "bcp47": "en", "iso639_3": "eng", "script": "Latn", "lid": ["en"], "shards": 3,
    "sources": [{"kind": "local", "path": "data/own"}],
}  # fmt: skip


def kill_shard(root: Path, number: int) -> None:
    """Wait for the job of a shard, and kill it."""
    words = [b"--shard", str(number).encode()]
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        for process in Path("/proc").glob("[0-9]*"):
            try:
                command, cwd = (process / "cmdline").read_bytes().split(b"\0"), (process / "cwd").resolve()
            except OSError:
                continue
            if cwd == root and words[0] in command and command[command.index(words[0]) + 1] == words[1]:
                os.kill(int(process.name), signal.SIGKILL)
                return
        time.sleep(0.02)
    raise AssertionError("the job of the shard was not seen")


def test_a_killed_shard_is_made_again_alone(project: Project) -> None:
    draw = random.Random(0)
    texts = ["\n\n".join(" ".join(draw.choices(WORDS, k=25)) for _ in range(5)) for _ in range(300)]
    project.write("data/own/a.jsonl", "".join(json.dumps({"text": text}) + "\n" for text in texts))
    project.write("config/languages/eng_Latn.yaml", LANGUAGE)
    paths = {"PYTHONPATH": str(project.root / "src"), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = ["snakemake", CORPUS, "--cores", "3", "--retries", "0"]
    with subprocess.Popen(
        command, cwd=project.root, env={**os.environ, **paths}, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
    ) as run:
        kill_shard(project.root.resolve(), 1)
        assert run.wait(240) != 0
    shards = [project.root / f"results/shards/eng_Latn/{number}" for number in range(3)]
    assert [(shard / "manifest.json").is_file() for shard in shards] == [True, False, True]
    assert not (project.root / CORPUS).exists()
    kept = [(shard / "manifest.json").stat().st_mtime_ns for shard in (shards[0], shards[2])]
    planned = project.snakemake(CORPUS, "--dry-run", "--quiet", "rules")
    assert jobs(planned.stdout + planned.stderr) == {"corpus_shard": 1, "corpus_build": 1}
    project.snakemake(CORPUS)
    assert [(shard / "manifest.json").stat().st_mtime_ns for shard in (shards[0], shards[2])] == kept
    assert all(artifacts.verify(folder) == [] for folder in [*shards, (project.root / CORPUS).parent])
    assert not list((project.root / "results").rglob(".*.part"))
    # One job makes the same pages.
    one = project.root / "one.yaml"
    project.write("one.yaml", {**LANGUAGE, "shards": 1})
    project.run("tokgraft", "corpus", "--language", str(one), "--out", "one")
    for name in ("train.jsonl", "dev.jsonl", "test.jsonl", "splits.json", "counts.json"):
        assert (project.root / "one" / name).read_bytes() == (project.root / CORPUS).with_name(name).read_bytes()
