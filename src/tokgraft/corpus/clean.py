"""Text repair and the replacement of personal data."""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache
from typing import Any

from tokgraft.corpus.ledger import Drops
from tokgraft.documents import Page, Paragraph

_TO_SPACE = dict.fromkeys([*range(9, 14), 0x85, 0x2028, 0x2029], " ")
_DROPPED = dict.fromkeys([*range(9), *range(14, 32), *range(0x7F, 0x85), *range(0x86, 0xA0), 0xAD, 0xFEFF])
_TABLE = {**_DROPPED, **_TO_SPACE}
_SPACES = re.compile(r" {2,}")


@cache
def _ftfy() -> tuple[Callable[..., str], Any]:
    import ftfy

    # Never NFKC and no width or ligature folding: it breaks Thai SARA AM, half-width kana and superscripts.
    flags = ftfy.TextFixerConfig(normalization="NFC", fix_character_width=False, fix_latin_ligatures=False, uncurl_quotes=False)
    return ftfy.fix_text, flags


def normalise(text: str) -> str:
    """Repaired text on one line: encoding damage undone, NFC, no control characters, soft hyphens or byte order marks.

    Joiners (U+200C, U+200D) stay: Indic scripts and Persian are spelt with them.
    """
    if text.isascii() and text.isprintable() and "&" not in text and "  " not in text:
        return text.strip()  # nothing of the below can apply
    fix, flags = _ftfy()
    return _SPACES.sub(" ", fix(text.translate(_TABLE), flags).translate(_TABLE)).strip()


def normalise_pages(pages: Iterable[Page], beat: Callable[[int], None] = lambda done: None) -> tuple[list[Page], Drops]:
    """`normalise` over every paragraph; what is empty then is dropped."""
    seen: dict[str, str] = {}
    kept, drops = [], Drops()
    for done, page in enumerate(pages, 1):
        left = []
        for paragraph in page.paragraphs:
            text = seen.get(paragraph.text)
            if text is None:
                text = seen[paragraph.text] = normalise(paragraph.text)
            if text:
                left.append(paragraph if text == paragraph.text else replace(paragraph, text=text))
            else:
                drops.paragraph("empty", paragraph)
        if left:
            kept.append(replace(page, paragraphs=tuple(left)))
        else:
            drops.pages["empty"] += 1
        beat(done)
    return kept, drops


_EMAIL = re.compile(r"(?<![\w.+-])[A-Za-z0-9][\w.+-]{0,63}@(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}(?![\w-])", re.ASCII)
_IPV4 = re.compile(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.]*\d)")
_IBAN = re.compile(r"(?<!\w)[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?!\w)", re.ASCII)
_PHONE = re.compile(r"(?<![\w+])\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d{1,4}(?:[ .-]?\d{2,4}){2,4}(?!\w|[.,]\d)", re.ASCII)
EMAIL, IPV4, IBAN, PHONE = "name@example.org", "192.0.2.1", "DE00 0000 0000 0000 0000 00", "+1-202-555-0100"


def _public(text: str) -> bool:
    """Whether it is an IPv4 address of the public network (not private, reserved or documentation).

    Four numbers below 10 are taken for a version ("LibreOffice 7.4.1.2").
    """
    try:
        return ipaddress.IPv4Address(text).is_global and any(len(part) > 1 for part in text.split("."))
    except ValueError:
        return False


def _iban(text: str) -> bool:
    """Whether the check digits of ISO 13616 (remainder 1 modulo 97) hold."""
    plain = text.replace(" ", "")
    return int("".join(str(int(char, 36)) for char in plain[4:] + plain[:4])) % 97 == 1


def _phone(text: str) -> bool:
    """Whether it has as many digits as an international number (E.164)."""
    return 8 <= sum(char.isdigit() for char in text) <= 15


_RULES: list[tuple[str, str, re.Pattern[str], Callable[[str], bool], str]] = [
    ("email", "@", _EMAIL, lambda text: not text.lower().endswith(("@example.org", "@example.com", "@example.net")), EMAIL),
    ("ipv4", ".", _IPV4, _public, IPV4),
    ("iban", "", _IBAN, _iban, IBAN),
    ("phone", "+", _PHONE, _phone, PHONE),
]
_SUSPECT = re.compile(r"@|\d")


def replace_personal(text: str) -> tuple[str, Counter[str]]:
    """Text with personal data replaced by values reserved for documentation, and how many of each kind there were.

    Replaced: e-mail addresses, public IPv4 addresses, IBANs with right check digits, phone numbers in international form.
    """
    hits: Counter[str] = Counter()
    if not _SUSPECT.search(text):
        return text, hits
    for name, mark, pattern, valid, value in _RULES:
        if mark in text:
            found = [match for match in pattern.finditer(text) if valid(match[0])]
            for match in reversed(found):
                text = text[: match.start()] + value + text[match.end() :]
            hits[name] += len(found)
    return text, +hits


def replace_personal_pages(pages: Iterable[Page]) -> tuple[list[Page], Counter[str]]:
    """`replace_personal` over every paragraph."""
    hits: Counter[str] = Counter()

    def done(paragraph: Paragraph) -> Paragraph:
        text, found = replace_personal(paragraph.text)
        hits.update(found)
        return replace(paragraph, text=text) if found else paragraph

    return [replace(page, paragraphs=tuple(map(done, page.paragraphs))) for page in pages], hits
