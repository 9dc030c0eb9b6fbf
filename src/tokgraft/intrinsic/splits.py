"""A text cut into its tokens, for people to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tokgraft.intrinsic.inputs import Subject

SHOWN = {" ": "·", "\n": "⏎", "\t": "⇥", "\r": "␍", "\u00a0": "⍽"}


@dataclass(frozen=True)
class Piece:
    """A stretch of text and the tokens it is made of.

    Attributes:
        text: The stretch.
        tokens: What its tokens stand for, readable; several when a character is spread over tokens, none for text that no token covers.
        ids: Their ids.
    """

    text: str
    tokens: tuple[str, ...]
    ids: tuple[int, ...]

    @property
    def shown(self) -> str:
        """The stretch with white space made visible."""
        return "".join(SHOWN.get(character, character) for character in self.text)


def pieces(subject: Subject, text: str) -> list[Piece]:
    """The stretches that make up `text`, in order."""
    encoding = subject.tokenizer.encode(text, add_special_tokens=False)
    stretches: list[tuple[int, int, list[int]]] = []
    for number, (start, end) in zip(encoding.ids, encoding.offsets):
        if stretches and (start < stretches[-1][1] or start == end):
            first, last, ids = stretches[-1]
            stretches[-1] = (first, max(last, end), [*ids, number])
        else:
            stretches.append((start, end, [number]))
    found, at = [], 0
    for start, end, ids in stretches:
        if start > at:
            found.append(Piece(text[at:start], (), ()))
        found.append(Piece(text[start:end], tuple(_readable(subject, number) for number in ids), tuple(ids)))
        at = end
    if at < len(text):
        found.append(Piece(text[at:], (), ()))
    return found


def side_by_side(subjects: Sequence[Subject], texts: Sequence[str]) -> list[dict[str, Any]]:
    """For each text: its bytes, and each tokenizer's pieces and number of tokens."""
    return [
        {
            "text": text,
            "bytes": len(text.encode()),
            "rows": [
                {"name": subject.name, "tokens": sum(len(piece.ids) for piece in found), "pieces": [_as_dict(piece) for piece in found]}
                for subject, found in ((subject, pieces(subject, text)) for subject in subjects)
            ],
        }
        for text in texts
    ]


def _as_dict(piece: Piece) -> dict[str, Any]:
    return {**asdict(piece), "shown": piece.shown}


def _readable(subject: Subject, number: int) -> str:
    return subject.vocabulary[number].shown
