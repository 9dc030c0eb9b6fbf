"""Which paths the store may write to. What a clone or a remote says is not trusted: it must not reach outside results/.

`dvc.yaml`, `dvc.lock` and `snakemake.lock` come from git, lists of files from a remote. Each of them names paths that a pull moves, dates
and replaces, and that a push moves into DVC's cache.
"""

from __future__ import annotations

import re
from pathlib import Path

from tokgraft.config import layout
from tokgraft.store import StoreError

# A part of an artifact's path: slugs, content keys, file names. Nothing hidden, and nothing that DVC or a shell would fill in.
_PART = re.compile(r"[\w+~=,@-][\w+~=,@.-]*", re.ASCII)
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\\]")


def is_inside(path: object) -> bool:
    """Whether a path of a list of files stays in the folder that the list is of: relative, normalised, without `..`."""
    return isinstance(path, str) and not _UNPRINTABLE.search(path) and not {"", ".", ".."} & set(path.split("/"))


def below_results(root: Path, path: object, source: str) -> str:
    """The path, when it is one that the store may write to.

    Args:
        root: Root of the project.
        path: A path relative to the root.
        source: The file that names it, for the message.

    Raises:
        StoreError: It is not a normalised path below results/, or leads through a symbolic link.
    """
    parts = path.split("/") if isinstance(path, str) else []
    if not isinstance(path, str) or len(parts) < 3 or parts[0] != str(layout.RESULTS) or not all(map(_PART.fullmatch, parts)):
        raise StoreError(
            f"{source} names {path!r}, which is no path of an artifact below {layout.RESULTS}/",
            f"do not trust this {source}: take one from a commit that you know, or write it anew (tokgraft push)",
        )
    refuse_links(root, path)
    return path


def refuse_links(root: Path, path: str | Path) -> None:
    """Refuse a path of which a part is a symbolic link: what is written there would land somewhere else.

    Raises:
        StoreError: A part of it, below the root, is a link.
    """
    place = root
    for part in Path(path).parts:
        place = place / part
        if place.is_symlink():
            raise StoreError(
                f"{place} is a symbolic link to {place.readlink()}; push and pull write to folders of the project only",
                "put a folder in its place (a mount, where the results are to lie on another disk), then repeat",
            )
