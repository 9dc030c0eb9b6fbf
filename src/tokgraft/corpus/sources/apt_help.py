"""LibreOffice help from a Debian or Ubuntu package: the same pages and paragraph ids in every language."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Any

from tokgraft.config.language import AptHelp
from tokgraft.corpus.ledger import Drops
from tokgraft.corpus.sources import SOURCES, Loaded, SourceFolders, SourceKind
from tokgraft.corpus.sources import _apt as apt
from tokgraft.corpus.sources import _deb as deb
from tokgraft.corpus.sources._help_html import parse
from tokgraft.documents import Page
from tokgraft.errors import DataError
from tokgraft.logs import Heartbeat, log

_PAGE = re.compile(r"(?:^|/)help/[^/]+/text/(.+)\.html$")
LICENCE = "MPL-2.0, some files Apache-2.0 (the package's copyright file)"
REGISTER = "software manual: instructions and interface words, imperative and second person, much repeated phrasing"


def check(source: AptHelp, place: SourceFolders) -> None:
    """Fetch the package (a few megabytes), so that a missing one is known before anything else is done."""
    _open(source.package, place)


def read(source: AptHelp, place: SourceFolders) -> Loaded:
    """The pages of the package.

    Raises:
        DataError: The package cannot be had, is damaged, or holds no help pages.
    """
    facts, files = _open(source.package, place)
    pages, drops = extract(files)
    if not pages:
        raise DataError(f"the package {source.package} holds no help pages", "its name should be libreoffice-help-<language>")
    facts = {"kind": "apt_help", "package": source.package, **facts, "licence": LICENCE, "register": REGISTER}
    return Loaded(pages, facts, aligned=True, drops=drops)


def _open(name: str, place: SourceFolders) -> tuple[dict[str, Any], Iterable[tuple[str, bytes]]]:
    """What the card says of the package, and its files; when it cannot be downloaded but is installed, the installed files."""
    try:
        package = apt.fetch(name, place.cache, place.pins)
    except DataError as error:
        found = apt.installed(name)
        if found is None:
            raise
        log.warning("%s; using the files of the installed package, whose hash cannot be compared with a known one", error.what)
        contents = sorted((path.as_posix(), path.read_bytes()) for path in found[1] if _PAGE.search(path.as_posix()) and path.is_file())
        hashes = hashlib.sha256("".join(f"{path}\0{hashlib.sha256(data).hexdigest()}\n" for path, data in contents).encode())
        return {"version": found[0], "sha256": hashes.hexdigest(), "pinned": False, "installed": True}, contents
    facts = {"version": package.version, "sha256": package.sha256, "pinned": package.pinned}
    return facts, deb.files(package.path, ".html")


def extract(files: Iterable[tuple[str, bytes]]) -> tuple[list[Page], Drops]:
    """Pages from (path, HTML) pairs, sorted by id, which is the path below `text/` without its ending.

    Raises:
        DataError: A page would take the parser too long.
    """
    pages, drops, heartbeat = [], Drops(), Heartbeat("reading help", 0, "pages")
    for path, content in files:
        if match := _PAGE.search(path):
            try:
                paragraphs, left_out = parse(content.decode("utf-8", errors="replace"))
            except ValueError as error:
                raise DataError(f"{path} is no page of help: {error}", "get the package again, from an archive that you trust") from None
            drops.paragraphs.update(left_out.paragraphs)
            if paragraphs:
                pages.append(Page(match[1], tuple(paragraphs)))
            else:
                drops.pages["no_text"] += 1
            heartbeat.beat(len(pages))
    return sorted(pages, key=lambda page: page.id), drops


SOURCES.add("apt_help", SourceKind(check, read))
