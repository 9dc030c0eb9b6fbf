"""LibreOffice help from a Debian or Ubuntu package: the same pages and paragraph ids in every language."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tokgraft.config.language import AptHelp
from tokgraft.corpus.ledger import Drops
from tokgraft.corpus.pages import Page
from tokgraft.corpus.sources import SOURCES, Loaded, Place, SourceKind
from tokgraft.corpus.sources import _apt as apt
from tokgraft.corpus.sources import _deb as deb
from tokgraft.corpus.sources._help_html import parse
from tokgraft.errors import DataError
from tokgraft.logs import Heartbeat

_PAGE = re.compile(r"(?:^|/)help/[^/]+/text/(.+)\.html$")
REGISTER = "software manual: instructions and interface words, imperative and second person, much repeated phrasing"


def check(source: AptHelp, place: Place) -> None:
    """Fetch the package (a few megabytes), so that a missing one is known before anything else is done."""
    apt.fetch(source.package, place.cache, place.pins)


def read(source: AptHelp, place: Place) -> Loaded:
    """The pages of the package.

    Raises:
        DataError: The package cannot be had, is damaged, or holds no help pages.
    """
    package = apt.fetch(source.package, place.cache, place.pins)
    pages, drops = extract(deb.files(package.path, ".html"))
    if not pages:
        raise DataError(f"{package.path} holds no help pages", "give a package called libreoffice-help-<language> in the language file")
    facts = {
        "kind": "apt_help", "package": source.package, "version": package.version, "sha256": package.sha256, "pinned": package.pinned,
        "licence": "MPL-2.0, some files Apache-2.0 (the package's copyright file)", "register": REGISTER,
    }  # fmt: skip
    return Loaded(pages, facts, aligned=True, drops=drops)


def extract(files: Iterable[tuple[str, bytes]]) -> tuple[list[Page], Drops]:
    """Pages from (path, HTML) pairs, sorted by id, which is the path below `text/` without its ending."""
    pages, drops, heartbeat = [], Drops(), Heartbeat("reading help", 0, "pages")
    for path, content in files:
        if match := _PAGE.search(path):
            paragraphs, left_out = parse(content.decode("utf-8", errors="replace"))
            drops.paragraphs.update(left_out.paragraphs)
            if paragraphs:
                pages.append(Page(match[1], tuple(paragraphs)))
            else:
                drops.pages["no_text"] += 1
            heartbeat.beat(len(pages))
    return sorted(pages, key=lambda page: page.id), drops


SOURCES.add("apt_help", SourceKind(check, read))
