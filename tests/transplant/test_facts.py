"""The lines of provenance are the JSON that any reader expects."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

from tokgraft.methods import Provenance
from tokgraft.transplant._facts import provenance_lines
from tokgraft.vocab import Token, Vocabulary


def test_lines_are_json_whatever_a_token_holds() -> None:
    texts = ['"', "\\", "\n\t\x00", "\u2028ß😀", "plain", "<s>"]
    tokens = (*(Token(text.encode(), "normal", (), text) for text in texts), None, Token(b"\xff", "byte", (), "x"))
    made = [Provenance("combined", (1, 20)), *[Provenance("random")] * 7]
    rows = cast("Any", SimpleNamespace(provenance=made))
    lines = list(provenance_lines(Vocabulary(tokens, "plain"), rows))
    wanted = [
        {"id": number, "text": None if token is None else token.shown, "how": how.how, "from": list(how.sources)}
        for number, (token, how) in enumerate(zip(tokens, made))
    ]
    assert lines == [json.dumps(line, ensure_ascii=False) + "\n" for line in wanted]
