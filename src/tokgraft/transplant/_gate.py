"""The gate behind a transplant: what was written is loaded again as its users will load it, and must be what was meant.

Loading happens in a process of its own (`_gate_process`), which knows nothing of the model that is still in memory here. It is started
when a transplant begins, so that it imports its libraries meanwhile, and serves every transplant of this process.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import tempfile
import threading
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from tokgraft import documents
from tokgraft.errors import ModelError, TokenizerError
from tokgraft.logs import log
from tokgraft.methods import Floats, Rows, Transplant
from tokgraft.tokenizers.audit import CHALLENGES
from tokgraft.transplant._gate_process import SIZE, numbers
from tokgraft.vocab import Vocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

PARAGRAPHS = 40  # of the corpus that are encoded both ways
SPECIALS = 100  # special tokens that are encoded both ways
POSITIONS = 24  # of the text on which logits are compared
COLUMNS = 2000  # of the logits that are compared
EXACT, ROUNDED = 1e-4, 0.15  # largest difference of two logits, beside the largest logit: of equal weights, and of rounded ones


@dataclass(frozen=True)
class Expected:
    """What the written folder must be.

    Attributes:
        folder: The folder.
        trust_remote_code: Whether its own code may run.
        texts: Texts that must be encoded as tokenizer.json says.
        old_sizes: Sizes of the old vocabulary, which no parameter may have.
        base_added: Strings that are one token in the base: a chat template that writes one should find it in the new vocabulary.
        token_ids: Entry of a config that names tokens ("generation_config.eos_token_id") -> its value.
        ids: Ids of tokens whose rows are the base's; empty where there are none.
        columns: Ids of such tokens, whose logits are compared.
        logits: File with the base's logits, of shape (positions, columns).
        tolerance: Largest difference of two logits, as a share of the largest.
    """

    folder: str
    trust_remote_code: bool
    texts: list[str]
    old_sizes: list[int]
    base_added: list[str]
    token_ids: dict[str, Any] = field(default_factory=dict)
    ids: list[int] = field(default_factory=list)
    columns: list[int] = field(default_factory=list)
    logits: str = ""
    tolerance: float = EXACT


@dataclass(frozen=True)
class Probe:
    """A short text of copied tokens and what the base says to it.

    Attributes:
        ids: Target ids of the text.
        columns: Target ids whose logits are compared.
        logits: The base's logits for the same tokens, of shape (positions, columns).
    """

    ids: list[int]
    columns: list[int]
    logits: Floats


def probe(model: PreTrainedModel, task: Transplant, rows: Rows, seed: int = 0) -> Probe | None:
    """Run the base, before its tables are replaced, on tokens whose rows the new model has unchanged.

    Args:
        model: The base.
        task: What the method was given.
        rows: What it returned.
        seed: Seed of the choice of tokens.

    Returns:
        None where the rows of too few text tokens are unchanged.
    """
    import torch

    new = np.fromiter(task.overlap, dtype=np.int64, count=len(task.overlap))
    old = np.fromiter((match.source for match in task.overlap.values()), dtype=np.int64, count=len(new))
    output = rows.input if rows.output is None else rows.output
    same = (rows.input[new] == task.E[old]).all(axis=1) & (output[new] == task.U[old]).all(axis=1)
    if rows.bias is not None and task.bias is not None:
        same &= rows.bias[new] == task.bias[old]
    texts = np.isin(new, task.target.text_ids)
    if (same & texts).sum() < 2:
        return None
    random = np.random.default_rng(seed)
    told = random.choice(np.flatnonzero(same & texts), min(POSITIONS, _room(model)))
    seen = random.permutation(np.flatnonzero(same))[:COLUMNS]
    with torch.no_grad():
        logits = model(input_ids=torch.from_numpy(old[told])[None]).logits[0].float().numpy()
    return Probe(new[told].tolist(), new[seen].tolist(), np.ascontiguousarray(logits[:, old[seen]], dtype=np.float32))


def _room(model: PreTrainedModel) -> int:
    """Positions that the model has; some encoders count theirs from the pad id on."""
    return max(2, int(getattr(model.config.get_text_config(), "max_position_embeddings", None) or POSITIONS) - 4)


def texts(corpus: Path | None, target: Vocabulary) -> list[str]:
    """What must be encoded as tokenizer.json says: text of the language, texts that break tokenizers, special tokens within text.

    Args:
        corpus: A corpus artifact of the language; without one, tokens of the new vocabulary stand for its text.
        target: The new vocabulary.
    """
    specials = [target[number].shown for number in target.special_ids[:SPECIALS]]
    found = [*CHALLENGES, *(f"one {special} two{special}three" for special in specials)]
    if corpus is None:
        shown = [target[number].shown for number in target.text_ids[:: 1 + len(target.text_ids) // 2000]]
        return [*found, *("".join(shown[begin : begin + 50]) for begin in range(0, len(shown), 50))]
    pages = documents.pages(documents.pages_file(corpus, "dev"))
    return [*found, *islice((part.text for page in pages for part in page.paragraphs[:10]), PARAGRAPHS)]


def added(tokenizer: PreTrainedTokenizerFast) -> list[str]:
    """Strings that were added to a tokenizer behind its model: control tokens, of which chat templates are made."""
    return [token.content for token in tokenizer.added_tokens_decoder.values()]


def vocabulary_sizes(model: PreTrainedModel) -> list[int]:
    """The number of rows, and every number in the text's config that a key calls the size of a vocabulary."""
    told = {number for name, found in numbers(model.config.get_text_config().to_dict()) if name.startswith(SIZE) for number in found}
    return sorted({model.get_input_embeddings().weight.shape[0], *told})


def check(expected: Expected, known: Probe | None) -> dict[str, Any]:
    """Load the folder in another process and compare.

    Returns:
        What was compared: numbers of texts, rendered chats and columns, for `transplant.json`.

    Raises:
        TokenizerError: `AutoTokenizer` gives other ids than tokenizer.json, or ids without a row.
        ModelError: The model cannot be loaded, still has parts of the old vocabulary, or computes something else than the base where it must
            not.
    """
    with tempfile.TemporaryDirectory(prefix="tokgraft-gate-") as place:
        # The process may work in another folder.
        request = asdict(expected) | {"folder": os.path.abspath(expected.folder)}
        if known is not None:
            np.save(path := Path(place) / "logits.npy", known.logits)
            request |= {"ids": known.ids, "columns": known.columns, "logits": str(path)}
        answer = _process().ask(request)
    for note in answer["notes"]:
        log.warning("%s", note)
    if answer["error"] is not None:
        kind, what, do = answer["error"]
        raise (TokenizerError if kind == "tokenizer" else ModelError)(what, do)
    return dict(answer["facts"])


def prepare() -> None:
    """Start the process, so that it is ready when it is asked."""
    _process()


class _Process:
    """A Python that answers one request after the other, as JSON lines."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115, it lives as long as the process
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from tokgraft.transplant._gate_process import serve; serve()"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        )  # fmt: skip

    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, request: dict[str, Any]) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        with self._lock:
            try:
                self._process.stdin.write(json.dumps(request).encode() + b"\n")
                self._process.stdin.flush()
                line = self._process.stdout.readline()
            except BrokenPipeError:
                line = b""
        if not line:
            raise ModelError(
                f"the process that loads the written model ended (status {self._process.wait()}): {self._last_words()}",
                "a status of -9 is the system's answer to too little memory: the model is loaded a second time to check it",
            )
        return json.loads(line)

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else "no message"

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


_current: tuple[int, _Process] | None = None


def _process() -> _Process:
    """The process of this process: one that was forked from it gets its own."""
    global _current
    if _current is None or _current[0] != os.getpid() or not _current[1].alive():
        _current = (os.getpid(), _Process())
        atexit.register(_current[1].close)
    return _current[1]
