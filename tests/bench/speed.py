"""CPU seconds of every method on the German case, and of the reference packages on the same inputs, by turns in one process.

python -m tests.bench.speed --base BASE --corpus GERMAN --english ENGLISH --folder results/bench/german --out results/bench/speed.json
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAYON_NUM_THREADS", "1")
os.environ.setdefault("TQDM_DISABLE", "1")

import numpy as np

from tests.bench.german import Case, Places, chains, cpu, load, prepare

IMPORTS = {
    "tokgraft": "import tokgraft.methods; tokgraft.methods.METHODS.names()",
    "deepfocus": "import deepfocus", "langsfer": "import langsfer.high_level", "mergekit": "import mergekit.tokensurgeon",
    "trans-tokenizers": "import transtokenizers.transtokenizers", "wechsel": "import wechsel",
}  # fmt: skip
LONG = 40.0  # seconds of all runs of one kind after which none is added


def fresh(case: Case) -> Any:
    """The same transplant with nothing derived kept: neither overlap nor pieces nor orders."""
    return replace(case.task, source=replace(case.task.source), target=replace(case.task.target))


def prepared(task: Any, *parts: str) -> Any:
    """The same transplant with `parts` of it and the orders of its vocabularies at hand."""
    task = replace(task)
    for name in parts:
        getattr(task, name)
    for vocabulary in (task.source, task.target):
        for name in ("ids", "text_ids", "special_ids", "canonical_order", "roles", "fingerprint", "text_fingerprint"):
            getattr(vocabulary, name)
    return task


def timed(run: Callable[[], Any]) -> float:
    """CPU seconds of a call."""
    begin = cpu()
    run()
    return cpu() - begin


def measure(case: Case, chain: str, repeats: int, with_peer: bool, read: Callable[[], float]) -> dict[str, Any]:
    """Median seconds of ours ("ours"), of ours with vocabularies prepared ("rows"), of the peer and of a read of the tables, by turns.

    The first run of each does not count, but where it alone took `LONG`; no more runs are made of what took that in all.
    """
    from tests.bench.peers import PEERS
    from tokgraft import methods

    peer = PEERS.get(chain) if with_peer else None
    theirs = peer.prepare(case) if peer else None
    settings = dict(peer.settings) if peer else {}
    adapted = peer.adapt(case) if peer else case

    def task() -> Any:
        made = fresh(adapted)
        return replace(made, target=made.source) if methods.METHODS.get(chain.split("+")[0]).keeps_tokenizer else made

    found: dict[str, list[float]] = {"ours": [], "rows": [], "peer": [], "read": []}
    for _ in range(repeats + 1):
        # A reference that is given the overlap alone cuts texts into pieces itself.
        new, ready = task(), prepared(task(), "overlap", "live", *(["pieces"] if not peer or peer.excluded != "overlap" else []))
        gc.collect()
        gc.freeze()  # what either was given is not looked through while it runs
        runs = {
            "ours": lambda new=new: methods.apply(chain, new, settings),
            "rows": lambda ready=ready: methods.apply(chain, ready, settings),
        }
        for name, run in [*runs.items(), ("peer", theirs)]:
            if run is not None and sum(found[name]) <= LONG:
                found[name].append(timed(run))
        found["read"].append(read())
    told: dict[str, Any] = {name: statistics.median(runs[1:] or runs) for name, runs in found.items() if runs}
    told["runs"] = {name: [round(seconds, 3) for seconds in runs] for name, runs in found.items()}
    return told | ({"package": peer.package, "excluded": peer.excluded} if peer else {})


def readers(case: Case, folder: Path) -> dict[str, Callable[[], float]]:
    """CPU seconds of reading the two tables, the base's and one of the new size, once: from .npy and from safetensors."""
    from safetensors.numpy import save_file

    tables = {"base": np.array(case.task.E), "new": np.zeros((len(case.task.target), case.task.E.shape[1]), dtype=np.float32)}
    save_file(tables, folder / "tables.safetensors")
    for name, table in tables.items():
        np.save(folder / f"{name}.npy", table)
    paths = [str(folder / f"{name}.npy") for name in tables]
    return {
        "safetensors": lambda: alone("from safetensors.numpy import load_file", f"load_file({str(folder / 'tables.safetensors')!r})"),
        "npy": lambda: alone("import numpy as np", f"[np.load(path) for path in {paths}]"),
    }


def alone(before: str, code: str) -> float:
    """CPU seconds of code in a new process, whose memory is as fresh as that of a run which reads its tables."""
    program = f"import time\n{before}\nbegin = time.process_time()\n{code}\nprint(time.process_time() - begin)"
    return float(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()[-1])


def imports() -> dict[str, float]:
    """CPU seconds of importing each package in a new process; 0 for one that is not installed."""
    return {name: alone("", f"try: {command}\nexcept ImportError: print(0); raise SystemExit") for name, command in IMPORTS.items()}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("base", "corpus", "english", "folder", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--methods", nargs="+", help="chains; default: all")
    parser.add_argument("--repeats", type=int, default=9, help="runs after the first, at most (default: 9)")
    parser.add_argument("--no-peers", action="store_true", help="leave the reference packages out")
    args = parser.parse_args()
    places = Places(args.base, args.corpus, args.english, args.folder)
    made = prepare(places)
    case = load(places)
    known: dict[str, Any] = json.loads(args.out.read_text()) if args.out.exists() else {}
    read = readers(case, args.folder)
    tables = {name: statistics.median(run() for _ in range(5)) for name, run in read.items()}
    known |= {"made": made, "reading": case.reading, "tables": tables, "imports": imports()}
    known["sizes"] = {"source": len(case.task.source), "target": len(case.task.target), "width": case.task.E.shape[1],
                      "overlap": len(case.task.overlap)}  # fmt: skip
    args.out.parent.mkdir(parents=True, exist_ok=True)
    for chain in args.methods or chains():
        known.setdefault("methods", {})[chain] = measure(case, chain, args.repeats, not args.no_peers, read["safetensors"])
        told = known["methods"][chain]
        ratio = f", {told['package']} {told['peer']:.2f} s: {told['peer'] / told['ours']:.1f} times" if "peer" in told else ""
        print(f"{chain}: {told['ours']:.3f} s{ratio}", flush=True)
        args.out.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
