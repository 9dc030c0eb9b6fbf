"""Tik-to-Tok: a token that is a word takes the row of its translation; the others a mixture of their three nearest source tokens."""

from __future__ import annotations

import numpy as np
from pydantic import Field, model_validator

from tokgraft.methods import Composition, Doubles, Mixtures, Transplant, method
from tokgraft.rows.words import REQUIRES, AlignedParams, common_space, neighbours, token_texts, vectors_by_text


class TikToTok(AlignedParams):
    """Map tokens one to one by the dictionary where it has them, and the others to their nearest source tokens by fixed weights."""

    neighbours: int = Field(3, ge=1, description="Source tokens in a mixture (published: 3).")
    first: float = Field(0.4, ge=0, le=1, description="Weight of the nearest, before the rest is shared out (published: 0.4).")
    second: float = Field(0.2, ge=0, le=1, description="Weight of the second, before the rest is shared out (published: 0.2).")
    copy_symbols: bool = Field(
        True, description="Copy tokens of both vocabularies without a letter (digits, punctuation, white space, bytes)."
    )

    @model_validator(mode="after")
    def _sum(self) -> TikToTok:
        if self.first + self.second > 1:
            raise ValueError(f"first + second is {self.first + self.second:g}, at most 1")
        return self


@method("tik_to_tok", TikToTok, version=1, paper="arXiv:2310.03477", requires=REQUIRES, convex=True)
def build(task: Transplant, params: TikToTok) -> Composition:
    """E'[t] = E[translation of t] where that is one source token; else 0.4 E[j1] + 0.2 E[j2] + 0.4 mean(E[j1], E[j2], E[j3]).

    Raises:
        DataError: No entry of the dictionary can be used, vectors are NaN or zero, or fewer source tokens than `neighbours` have one.
    """
    space = common_space(task, params)
    texts = token_texts(task.target)
    copies = task.specials
    if params.copy_symbols:
        copies = copies | {number: match for number, match in task.overlap.items() if not _has_letter(texts.get(number, ""))}
    direct = {number: source for number, source in _translations(task, texts).items() if number not in copies}
    wanted = [number for number in task.target.text_ids if number not in copies and number not in direct]
    source, target = vectors_by_text(task.source, space.english_texts), vectors_by_text(task.target, space.target_texts)
    near = neighbours(task, source, target, wanted, params.neighbours)
    weights = np.broadcast_to(fixed_weights(params), near.sources.shape)
    mixtures = Mixtures.joined(Mixtures.copies(direct), Mixtures.table(near.ids, near.sources, weights))
    mixed = set(mixtures.ids.tolist())
    copies = copies | {number: match for number, match in task.overlap.items() if number not in mixed}
    stats = {"dictionary_pairs": space.pairs, "anchors": near.anchors, "direct": len(direct), "mixed": len(near.ids)}
    return Composition(copies, mixtures, drawn=task.others(copies, mixtures.ids), stats=stats)


def fixed_weights(params: TikToTok) -> Doubles:
    """Weights of the nearest, the second, ...: `first`, `second`, and what is left in equal shares for all of them. (neighbours,)."""
    own = np.zeros(params.neighbours)
    own[:2] = (params.first, params.second)[: params.neighbours]
    weights: Doubles = own + (1 - own.sum()) / params.neighbours
    return weights


def _translations(task: Transplant, texts: dict[int, str]) -> dict[int, int]:
    """Target id -> the one source token that a translation of its word is.

    The heaviest entry whose English word is one token wins. The token is looked for in the target token's case, then as the dictionary
    writes it, each time first with a space before it if the target token has one, and without if not.
    """
    entries: dict[str, list[tuple[float, str]]] = {}
    for english, target, weight in task.resources["dictionary"]:
        entries.setdefault(target, []).append((-float(weight), english))
    tokens = {task.source[number].text: number for number in reversed(task.source.canonical_order) if task.source[number].kind == "normal"}
    found = {}
    for number, text in texts.items():
        spaced = task.target[number].text.startswith(b" ")
        for _, english in sorted(entries.get(text, []) or entries.get(text.lower(), [])):
            forms = [space + form for form in (_in_case_of(text, english), english) for space in ((" ", "") if spaced else ("", " "))]
            if (hit := next((tokens[form.encode()] for form in forms if form.encode() in tokens), None)) is not None:
                found[number] = hit
                break
    return found


def _in_case_of(model: str, word: str) -> str:
    if len(model) > 1 and model.isupper():
        return word.upper()
    return word.capitalize() if model[:1].isupper() else word


def _has_letter(text: str) -> bool:
    return any(character.isalpha() for character in text)
