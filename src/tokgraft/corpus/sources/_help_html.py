"""Paragraphs of a LibreOffice help page."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser

from tokgraft.corpus.ledger import Drops
from tokgraft.documents import Paragraph

HEADINGS = {"h1", "h2", "h3", "h4", "h5", "h6"}
BLOCKS = HEADINGS | {"p"}
LINKS = {"embedded", "related", "howtogetheader"}
CODE = {"code", "codeintable", "smathcode"}
INTERFACE = {"youtube_consent", "finalcutpro"}
_SPACE = re.compile(r"[ \t\r\n\f\v]+")
LONGEST = 2_000_000  # characters of a page; the longest of LibreOffice's help has 192,000
UNCLOSED = (("<", ">"), ("<!--", "-->"), ("<![", "]]>"))
MOST_UNCLOSED = 20


def parse(html: str) -> tuple[list[Paragraph], Drops]:
    """The paragraphs of a page in document order, and what was left out.

    Only elements with an id are translated text; the others are links to related pages and words of the interface. List items and table
    cells hold `p` elements of their own. An id may return on a page, hence the ordinal in the key.

    Raises:
        ValueError: The page is too long, or is full of tags that nothing closes.
    """
    _check(html)
    start = html.find('id="DisplayArea"')
    if start < 0:
        return [], Drops()
    end = html.find('<div id="DEBUG"', start)
    parser = _Parser()
    parser.feed(html[html.rfind("<", 0, start) : end if end > 0 else len(html)])
    parser.close()
    parser.finish()
    return parser.paragraphs, parser.drops


def _check(html: str) -> None:
    """Bound the work of the parser, which for every tag that nothing closes looks through the whole rest of the page."""
    if len(html) > LONGEST:
        raise ValueError(f"the page has {len(html):,} characters, more than {LONGEST:,}")
    for opening, closing in UNCLOSED:
        if (count := html.count(opening, html.rfind(closing) + 1)) > MOST_UNCLOSED:
            raise ValueError(f"nothing closes the last {count:,} {opening!r} of the page")


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.paragraphs: list[Paragraph] = []
        self.drops = Drops()
        self._ordinals: Counter[str] = Counter()
        self._at = 0
        self._tag = ""  # the open block, empty outside of one
        self._id = ""
        self._class = ""
        self._pieces: list[str] = []
        self._spans: list[_Switch | None] = []  # open spans of the block: a switch, or None for any other
        self._switch: _Switch | None = None

    def updatepos(self, i: int, j: int) -> int:
        """No line numbers: counting them takes a tenth of the time."""
        return j

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in BLOCKS:
            self.finish()
            facts = dict(attrs)
            self._tag, self._id, self._class = tag, facts.get("id") or "", facts.get("class") or ""
        elif not self._tag:
            return
        elif tag == "br":
            self.handle_data(" ")
        elif tag == "span":
            self._open_span(dict(attrs))

    def handle_endtag(self, tag: str) -> None:
        if tag == self._tag:
            self.finish()
        elif tag == "span" and self._spans:
            closed = self._spans.pop()
            if closed is not None:
                self._switch = None
                self._pieces.append(closed.choice())

    def handle_data(self, data: str) -> None:
        if self._tag:
            if self._switch is None:
                self._pieces.append(data)
            else:
                self._switch.add(data)

    def _open_span(self, facts: dict[str, str | None]) -> None:
        if self._switch is None and facts.get("class") == "switchinline":
            self._switch = _Switch(depth=len(self._spans))
            self._spans.append(self._switch)
            return
        if self._switch is not None and len(self._spans) == self._switch.depth + 1:
            self._switch.start(facts.get("class") or "", facts.get("id") or "")
        self._spans.append(None)

    def finish(self) -> None:
        """Close the open block."""
        if not self._tag:
            return
        if self._switch is not None:
            self._pieces.append(self._switch.choice())
        text = _SPACE.sub(" ", "".join(self._pieces)).strip()
        key = f"{self._tag}:{self._id}"
        paragraph = Paragraph(f"{key}:{self._ordinals[key]}", self._tag, text, self._at)
        self._ordinals[key] += 1
        self._at += 1
        if reason := self._left_out(text):
            self.drops.paragraphs[reason] += 1
        else:
            self.paragraphs.append(paragraph)
        self._tag, self._pieces, self._spans, self._switch = "", [], [], None

    def _left_out(self, text: str) -> str | None:
        classes = set(self._class.split())
        if not text:
            return "image_only"
        if classes & LINKS:
            return "link"
        if classes & CODE:
            return "code"
        return "interface" if not self._id or classes & INTERFACE else None


class _Switch:
    """Words that depend on the system or the application ("Command" on a Mac, "Ctrl" elsewhere): one of them belongs in the text."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self._kinds: list[str] = []
        self._texts: list[str] = []

    def start(self, kind: str, name: str) -> None:
        """A further alternative begins."""
        self._kinds.append(kind if kind else "default" if name.startswith("default") else "")
        self._texts.append("")

    def add(self, data: str) -> None:
        """Text of the latest alternative; between alternatives there is only layout."""
        if self._texts:
            self._texts[-1] += data

    def choice(self) -> str:
        """The default alternative, else the first that is not for a Mac, else the first."""
        order = sorted(range(len(self._kinds)), key=lambda number: (self._kinds[number] != "default", self._kinds[number] == "MAC"))
        return self._texts[order[0]] if order else ""
