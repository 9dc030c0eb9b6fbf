"""Tokens of documents: encoded once for each tokenizer, and kept on disk for every run that reads the same text.

    <folder>/<tokenizer>/<SHA-256 of the file>.safetensors     keys, ends and tokens of some documents

`<folder>` is $TOKGRAFT_CACHE/tokens, or .cache/tokens below the working folder. `<tokenizer>` is a hash of everything that decides what a
text becomes (the tokenizer and the versions of the libraries), and a document is known by a hash of its text. So nothing kept can be out of
date: a corpus or tokenizer that changes asks for other keys. Files appear by rename, never change, and are compared with the hash in their
name whenever they are read; a damaged one is thrown away and its documents are encoded again. A run gives the same bytes with and without.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.metadata
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from tokgraft.artifacts import canonical_json
from tokgraft.errors import DataError, remedy
from tokgraft.logs import Heartbeat, log

LIMIT = 20_000_000_000  # bytes of all files in the folder; those that were used longest ago go first
FREE = 2_000_000_000  # bytes of the disk that stay free
FILE_TOKENS = 4_000_000  # tokens of one file, about 16 MB
ENCODE_BATCH = 512
KEY = 16  # bytes

Documents = Iterable[tuple[str, bool]]
Arrays = dict[str, NDArray[Any]]  # keys (n x 16 bytes), ends (n; where each document ends in tokens), tokens


def default_folder() -> Path:
    """Where tokens are kept."""
    return Path(os.environ.get("TOKGRAFT_CACHE") or ".cache") / "tokens"


def text_key(text: str) -> bytes:
    """What a text is known by: half of its SHA-256."""
    return hashlib.sha256(text.encode()).digest()[:KEY]


class TokenStore:
    """Encodes texts with a tokenizer, without special tokens, and keeps the tokens.

    Where nothing can be kept (the disk is full or read-only, the tokenizer runs code of its own) the tokens stay in memory.

    Args:
        tokenizer: Hugging Face tokenizer.
        folder: Where tokens are kept (default: `default_folder`).
    """

    def __init__(self, tokenizer: Any, folder: Path | None = None) -> None:
        self.tokenizer = tokenizer
        self._root = folder or default_folder()
        name = _fingerprint(tokenizer)
        self.folder = self._root / name if name else None
        self._files: dict[str, NDArray[np.int64]] = {}  # name -> where each of its documents ends
        self._places: dict[bytes, tuple[str, int]] = {}  # key of a document -> its file, and which of its documents it is
        self._memory: dict[str, Arrays] = {}  # files that could not be written
        self._warned = False

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text."""
        found: list[list[int]] = self.tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
        return found

    def lengths(self, keys: Sequence[bytes], documents: Documents) -> NDArray[np.int64]:
        """How many tokens each document has.

        Args:
            keys: Keys of the documents.
            documents: The documents themselves: read only where some are not kept yet.
        """
        self._demand(keys, documents)
        return np.array([np.subtract(*self._span(key)) for key in keys], dtype=np.int64)

    def copy(self, keys: Sequence[bytes], documents: Documents, out: NDArray[np.int32], starts: NDArray[np.int64]) -> None:
        """Write the tokens of each document into `out`, from its start on."""
        left = list(range(len(keys)))
        while left:  # once, unless a file goes or is damaged meanwhile
            self._demand([keys[number] for number in left], documents)
            by_file: dict[str, list[int]] = {}
            for number in left:
                by_file.setdefault(self._places[keys[number]][0], []).append(number)
            left = []
            for name, numbers in by_file.items():
                arrays = self._read(name)
                if arrays is None:
                    left += numbers
                    continue
                for number in numbers:
                    end, begin = self._span(keys[number])
                    out[starts[number] : starts[number] + end - begin] = arrays["tokens"][begin:end]

    def _span(self, key: bytes) -> tuple[int, int]:
        """End and begin of a document in the tokens of its file."""
        name, index = self._places[key]
        ends = self._files[name]
        return int(ends[index]), int(ends[index - 1]) if index else 0

    # --- what is missing is encoded ---------------------------------------------------------------------------------------

    def _demand(self, keys: Iterable[bytes], documents: Documents) -> None:
        """See that the tokens of all keys are known."""
        wanted = set(keys)
        self._look()
        if wanted <= self._places.keys():
            return
        with self._alone():
            self._look()  # another job may have encoded them while this one waited
            if missing := wanted - self._places.keys():
                self._encode(missing, documents)
        if not wanted <= self._places.keys():
            raise DataError("the text of a corpus was changed while it was read", "run again")

    def _encode(self, missing: set[bytes], documents: Documents) -> None:
        heart = Heartbeat("encoding", len(missing), "documents")
        keys: list[bytes] = []
        parts: list[NDArray[np.int32]] = []
        done = size = 0
        for texts in _chosen(missing, documents):
            keys += map(text_key, texts)
            parts += [np.array(ids, dtype=np.int32) for ids in self.encode(texts)]
            done, size = done + len(texts), size + sum(map(len, parts[-len(texts) :]))
            heart.beat(done)
            if size >= FILE_TOKENS:
                self._keep(keys, parts)
                keys, parts, size = [], [], 0
        if keys:
            self._keep(keys, parts)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """No other job encodes with this tokenizer meanwhile; without locks on this file system they may do the same work at once."""
        with contextlib.ExitStack() as stack:
            if self.folder is not None:
                try:
                    self.folder.mkdir(parents=True, exist_ok=True)
                    handle = stack.enter_context((self.folder / ".lock").open("w"))
                    try:
                        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    except BlockingIOError:
                        log.info("another job encodes with this tokenizer; waiting for its tokens")
                        fcntl.flock(handle, fcntl.LOCK_EX)
                except OSError as error:
                    log.debug("no lock in %s: %s", self.folder, error)
            yield

    # --- files ------------------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Take up the files that others have written."""
        for path in sorted(self.folder.glob("*.safetensors")) if self.folder is not None else []:
            if path.stem not in self._files:
                self._read(path.stem)

    def _read(self, name: str) -> Arrays | None:
        """The content of a file, compared with its name; None when it is gone or damaged, and then its documents are unknown again."""
        if name in self._memory or self.folder is None:
            return self._memory[name]
        path = self.folder / f"{name}.safetensors"
        try:
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest() != name:
                log.warning("%s is damaged; its documents are encoded again", path)
                path.unlink()
            else:
                with contextlib.suppress(OSError):
                    os.utime(path)  # used now
                return self._register(name, load(content))
        except OSError as error:
            log.debug("%s: %s", path, error)
        self._files.pop(name, None)
        self._places = {key: place for key, place in self._places.items() if place[0] != name}
        return None

    def _register(self, name: str, arrays: Arrays) -> Arrays:
        if name not in self._files:
            self._files[name] = arrays["ends"]
            self._places |= {key.tobytes(): (name, index) for index, key in enumerate(arrays["keys"])}
        return arrays

    def _keep(self, keys: list[bytes], parts: list[NDArray[np.int32]]) -> None:
        """Write the tokens of some documents into a new file; what cannot be written stays in memory."""
        arrays: Arrays = {
            "keys": np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(-1, KEY),
            "ends": np.cumsum([len(part) for part in parts], dtype=np.int64),
            "tokens": np.concatenate(parts),
        }
        content = save(arrays)
        name = hashlib.sha256(content).hexdigest()
        try:
            if self.folder is None:
                raise ValueError("its tokenizer runs code of its own")
            self.folder.mkdir(parents=True, exist_ok=True)
            self._make_room(len(content))
            _put(self.folder / f"{name}.safetensors", content)
        except (OSError, ValueError) as error:
            self._memory[name] = arrays
            self._warn(error)
        self._register(name, arrays)

    def _make_room(self, size: int) -> None:
        """Delete the files that were used longest ago until another one fits.

        Raises:
            ValueError: It does not fit even then.
        """
        found = []
        for path in [*self._root.glob("*/*.safetensors"), *self._root.glob("*/.*.part")]:  # those of killed jobs, too
            with contextlib.suppress(OSError):  # another job deletes, too
                status = path.stat()
                found.append((status.st_mtime, status.st_size, path))
        own = sum(used for _, used, path in found if path.stem in self._files)
        if own + size > LIMIT:
            raise ValueError(f"more than {LIMIT // 10**9} GB of tokens")
        total = sum(used for _, used, _ in found)
        for _, used, path in sorted(found):
            if total + size <= LIMIT:
                break
            if path.stem not in self._files:
                path.unlink(missing_ok=True)
                total -= used
        if shutil.disk_usage(self._root).free < FREE + size:
            raise ValueError(f"the disk has less than {FREE // 10**9} GB to spare")

    def _warn(self, error: Exception) -> None:
        if not self._warned:
            self._warned = True
            said = (
                f"{os.strerror(error.errno)}: {remedy(error.errno, 'name another folder with TOKGRAFT_CACHE')}"
                if isinstance(error, OSError) and error.errno
                else error
            )
            log.warning("tokens are not kept in %s (%s): every run encodes its text again and holds all of it in memory", self._root, said)


def _chosen(missing: set[bytes], documents: Documents) -> Iterator[list[str]]:
    """The texts of missing documents, each once, in batches."""
    left, texts = set(missing), []
    for text, _ in documents:
        if (key := text_key(text)) in left:
            left.remove(key)
            texts.append(text)
        if len(texts) == ENCODE_BATCH:
            yield texts
            texts = []
    if texts:
        yield texts


def _put(path: Path, content: bytes) -> None:
    """Write a file that appears whole or not at all."""
    handle, temporary = tempfile.mkstemp(prefix=".", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _fingerprint(tokenizer: Any) -> str | None:
    """A hash of what decides the tokens of a text; None where that is more than tokenizer.json: Python code of the tokenizer's own."""
    kind = type(tokenizer)
    if not getattr(tokenizer, "is_fast", False) or not kind.__module__.startswith("transformers."):
        return None
    facts = {
        "class": f"{kind.__module__}.{kind.__qualname__}",
        "split_special_tokens": bool(tokenizer.split_special_tokens),
        "libraries": {name: importlib.metadata.version(name) for name in ("tokenizers", "transformers")},
        "tokenizer": tokenizer.backend_tokenizer.to_str(),
    }
    return hashlib.sha256(canonical_json(facts).encode()).hexdigest()[:32]
