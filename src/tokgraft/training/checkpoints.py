"""Checkpoints from which a killed run goes on as if nothing had happened.

    <folder>/<key>/step-00000123/tensors.safetensors   trained parameters, optimizer moments
    <folder>/<key>/step-00000123/state.json            position, curves so far, SHA-256 of the tensors

`key` is a hash of everything that decides the run, so a checkpoint of another setting is never taken up. A checkpoint appears by rename
when it is whole; the two newest are kept, and all are deleted when the run has written its artifact.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from tokgraft.artifacts import canonical_json, file_sha256, refused_by_disk
from tokgraft.errors import ArtifactError, remedy
from tokgraft.logs import log

KEPT = 2
_KEY = re.compile("[0-9a-f]{24}")
TENSORS, STATE = "tensors.safetensors", "state.json"


def default_folder(out: Path) -> Path:
    """Where checkpoints of a run live: a hidden folder beside its output."""
    return Path(out).parent / f".{Path(out).name}.checkpoints"


class CheckpointFolder:
    """The checkpoints of one run.

    Args:
        folder: Folder of all checkpoints of this output, or of several.
        identity: JSON value that names settings, inputs and seed.
        owned: Whether the folder belongs to this output alone (`default_folder`).
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any], owned: bool = False) -> None:
        self.root, self.owned = Path(folder), owned
        self.folder = self.root / hashlib.sha256(canonical_json(identity).encode()).hexdigest()[:24]

    def write(self, step: int, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Write a checkpoint; older ones than the newest two go.

        Raises:
            ArtifactError: The disk is full or read-only.
        """
        from safetensors.torch import save_file

        target = self.folder / f"step-{step:08d}"
        temporary = None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(prefix=".", suffix=".part", dir=self.folder))
            save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, temporary / TENSORS)
            content = {"step": step, "sha256": file_sha256(temporary / TENSORS), **state}
            (temporary / STATE).write_text(json.dumps(content), encoding="utf-8")
            shutil.rmtree(target, ignore_errors=True)
            os.rename(temporary, target)
        except Exception as error:  # safetensors has an error of its own for a full disk
            number = refused_by_disk(error, self.root) or getattr(error, "errno", None)
            if number is None:
                raise
            raise ArtifactError(
                f"cannot write a checkpoint to {self.folder}: {os.strerror(number)}",
                remedy(number, "name another folder with --checkpoints"),
            ) from error
        finally:
            if temporary is not None:
                shutil.rmtree(temporary, ignore_errors=True)
        for old in self._found()[:-KEPT]:
            shutil.rmtree(old, ignore_errors=True)

    def newest(self) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
        """State and tensors of the newest whole checkpoint; damaged ones are skipped with a warning."""
        from safetensors.torch import load_file

        for folder in reversed(self._found()):
            try:
                state: dict[str, Any] = json.loads((folder / STATE).read_text(encoding="utf-8"))
                if file_sha256(folder / TENSORS) != state["sha256"]:
                    raise ValueError("the tensors do not match their SHA-256")
                return state, load_file(folder / TENSORS)
            except Exception as error:
                log.warning("checkpoint %s is damaged (%s); trying the one before", folder, error)
        if self.root.is_dir() and not self.folder.is_dir() and any(self.root.iterdir()):
            log.info("checkpoints in %s belong to other settings or inputs; starting anew", self.root)
        return None

    def clear(self) -> None:
        """Delete the checkpoints of this run; in the hidden folder that belongs to one output also those of earlier settings."""
        if not self.root.is_dir():
            return
        for folder in [path for path in self.root.iterdir() if _KEY.fullmatch(path.name)] if self.owned else [self.folder]:
            shutil.rmtree(folder, ignore_errors=True)
        if not any(self.root.iterdir()):
            self.root.rmdir()

    def _found(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("step-*") if path.is_dir())
