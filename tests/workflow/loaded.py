"""Runs commands of `tokgraft`, each in a process of its own, and prints as JSON which modules of the package each has loaded.

    python loaded.py < commands.json      a JSON list of argument lists; every entry of the printed list is [exit status, output, modules]

The libraries are imported once, then a process is forked for each command, so that a hundred commands take a minute.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
import traceback

for library in (
    "torch", "transformers", "transformers.models.llama.modeling_llama", "transformers.models.bert.modeling_bert", "tokenizers", "numpy",
    "scipy.sparse", "pydantic", "yaml", "datasets", "lm_eval.evaluator", "lm_eval.tasks", "lm_eval.models.huggingface", "mlflow.tracking", "matplotlib.pyplot",
    "gensim.models", "numba",
):  # fmt: skip
    importlib.import_module(library)


def run(words: list[str]) -> tuple[int, str, list[str]]:
    """Run a command in a fork of this process."""
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as told:
        if (child := os.fork()) == 0:
            os.dup2(said.fileno(), 1), os.dup2(said.fileno(), 2)
            status = 1
            try:
                from tokgraft.cli import main

                status = main(words)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush(), sys.stderr.flush()
                json.dump(sorted(name for name in sys.modules if name.partition(".")[0] == "tokgraft"), told)
                told.flush()
                os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        said.seek(0), told.seek(0)
        return status, said.read()[-2000:], json.load(told)


if __name__ == "__main__":
    assert not any(name.startswith("tokgraft") for name in sys.modules)
    print(json.dumps([run(words) for words in json.load(sys.stdin)]))
