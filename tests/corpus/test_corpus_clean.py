from __future__ import annotations

import pytest

from tokgraft.corpus.clean import EMAIL, IBAN, IPV4, PHONE, normalise, normalise_pages, replace_personal
from tokgraft.corpus.pages import normal
from tokgraft.documents import Page, Paragraph


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("schÃ¶n", "schön"),  # UTF-8 read as Latin-1
        ("u\u0308ber", "über"),  # NFC
        ("soft\u00adhyphen\ufeff", "softhyphen"),
        ("a\u2028b\x85c\td", "a b c d"),
        ("bell\x07 and\x9f more", "bell and more"),
        ("x² and ﬁ and ｶﾅ", "x² and ﬁ and ｶﾅ"),  # no compatibility folding
        ("ក្\u200bខ می\u200cخواهم क्\u200dष", "ក្\u200bខ می\u200cخواهم क्\u200dष"),  # joiners stay
        ("“curly” — fine", "“curly” — fine"),
        ("  two   spaces ", "two spaces"),
        ("plain ascii", "plain ascii"),
        ("น้ำ", "น้ำ"),
    ],
)
def test_normalise(raw: str, clean: str) -> None:
    assert normalise(raw) == clean
    assert normalise(clean) == clean


def test_normalise_pages_counts_what_becomes_empty() -> None:
    pages = [
        Page("a", (Paragraph("p:1:0", "p", "\ufeff", 0), Paragraph("p:2:0", "p", "text", 1))),
        Page("b", (Paragraph("p:1:0", "p", "\u00ad", 0),)),
    ]
    kept, drops = normalise_pages(pages)
    assert [page.id for page in kept] == ["a"]
    assert drops.paragraphs == {"empty": 2} and drops.pages == {"empty": 1}


@pytest.mark.parametrize(
    ("text", "expected", "kind"),
    [
        ("write to Jane.Doe+x@mail.company.co.uk.", f"write to {EMAIL}.", "email"),
        ("server 93.184.216.34:80", f"server {IPV4}:80", "ipv4"),
        ("IBAN GB82 WEST 1234 5698 7654 32 ok", f"IBAN {IBAN} ok", "iban"),
        ("DE89370400440532013000", IBAN, "iban"),
        ("call +49 30 901820 now", f"call {PHONE} now", "phone"),
        ("call +1 (212) 555-0187.", f"call {PHONE}.", "phone"),
    ],
)
def test_personal_data_is_replaced(text: str, expected: str, kind: str) -> None:
    assert replace_personal(text) == (expected, {kind: 1})
    assert replace_personal(expected)[0] == expected


@pytest.mark.parametrize(
    "text",
    [
        "=A1+12345678", "localhost is 127.0.0.1, the printer 192.168.1.20", "LibreOffice 7.4.1.2", "name@example.org", "1.2.3.4.5",
        "DE89370400440532013001", "2023-04-05 +1", "sum = 3+4 5", "@media print", "300.300.300.300",
    ],
)  # fmt: skip
def test_what_only_looks_personal_stays(text: str) -> None:
    assert replace_personal(text) == (text, {})


def test_normal_form() -> None:
    assert normal("Version  7.4\tU\u0308BER") == "version 0.0 über"
