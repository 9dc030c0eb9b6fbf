"""FOCUS: a new token is a sparse mixture of the overlap, weighted by similarity in a space of target-language token vectors."""

from __future__ import annotations

import string
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from pydantic import Field

from tokgraft.errors import UnavailableError
from tokgraft.methods import Composition, Floats, Mixtures, Params, Transplant, method
from tokgraft.numerics.similarity import cosine_sparsemax
from tokgraft.overlap import Match
from tokgraft.vocab import Vocabulary

MARK = "▁"


class Focus(Params):
    """Copy the overlap; mix the rest from it with sparsemax weights of cosines between token vectors trained on target text."""

    exact_match_all: bool = Field(True, description="Every token that both vocabularies have belongs to the overlap.")
    match_symbols: bool = Field(False, description="Digits, punctuation and white space match, also when only spacing differs.")
    fuzzy_match_all: bool = Field(False, description="Tokens that differ only in case or in a leading space match, too.")
    compatibility: Literal["none", "deepfocus"] = Field(
        "none", description="deepfocus: match tokens as the reference package does, by decoded text and not by bytes (for comparison)."
    )


@method("focus", Focus, version=1, paper="arXiv:2305.14481", requires={"token_vectors"}, copies_overlap=True, convex=True)
def build(task: Transplant, params: Focus) -> Composition:
    """Copies for the overlap O; for a new token a with a vector, sum_o sparsemax(cos(x_a, x_O))_o E[o]; N(mean, std) without a vector.

    The weights are the same for both tables.

    Raises:
        DataError: No token of the overlap has a vector.
    """
    vectors: Floats = task.resources["token_vectors"]
    matches = _reference_matches(task, params) if params.compatibility == "deepfocus" else _matches(task, params)
    known = np.abs(vectors).sum(axis=1) > 0
    anchors = [number for number in matches if known[number]]
    new_ids = [number for number in task.target.ids if number not in matches and known[number]]
    if new_ids and not anchors:
        raise UnavailableError(
            f"none of the {len(matches)} tokens of the overlap has a token vector",
            "train the token vectors on more text, lower min_count, or choose a method that needs no shared tokens",
        )
    origin = np.array([matches[number].source for number in anchors], dtype=np.int64)
    blocks = [weights for _, weights in cosine_sparsemax(vectors[new_ids], vectors[anchors])]
    lengths = np.concatenate([np.zeros(1, dtype=np.int64), *(np.diff(weights.indptr) for weights in blocks)])
    sources = np.concatenate([np.zeros(0, dtype=np.int64), *(origin[weights.indices] for weights in blocks)])
    values = np.concatenate([np.zeros(0), *(weights.data for weights in blocks)])
    mixtures = Mixtures(np.array(new_ids, dtype=np.int64), sources, values, np.cumsum(lengths))
    return Composition(
        matches,
        mixtures,
        drawn=task.others(matches, new_ids),
        bias=Mixtures.means(task.pieces) if task.bias is not None or task.columns is not None else None,
        stats={"anchors": len(anchors), "rows_per_mixture": round(len(values) / max(len(new_ids), 1), 2)},
    )


def fuzzy_form(text: bytes) -> str | None:
    """Lower-cased text without spaces, None where it is not UTF-8 or nothing is left."""
    try:
        return text.decode().replace(" ", "").lower() or None
    except UnicodeDecodeError:
        return None


def is_symbol(text: str) -> bool:
    """Whether a token is a number, punctuation or white space."""
    return text.isnumeric() or all(character in string.punctuation for character in text) or text.isspace()


def _matches(task: Transplant, params: Focus) -> dict[int, Match]:
    """The overlap by bytes and roles, widened or narrowed by the options; fuzzy candidates by equal case, then lowest id."""
    found = dict(task.overlap) if params.exact_match_all else dict(task.specials)
    if not (params.match_symbols or params.fuzzy_match_all):
        return found
    fuzzy: dict[str, list[int]] = {}
    for number in task.source.text_ids:
        if key := fuzzy_form(task.source[number].text):
            fuzzy.setdefault(key, []).append(number)
    for number in task.target.text_ids:
        key = fuzzy_form(task.target[number].text)
        if number in found or key is None or not (params.fuzzy_match_all or is_symbol(key)):
            continue
        if (match := task.overlap.get(number)) is not None:
            found[number] = match
        elif key in fuzzy:
            cased = task.target[number].text.replace(b" ", b"")
            best = min(fuzzy[key], key=lambda other: (task.source[other].text.replace(b" ", b"") != cased, other))
            found[number] = Match(best, "bytes")
    return dict(sorted(found.items()))


def _reference_matches(task: Transplant, params: Focus) -> dict[int, Match]:
    """The overlap as deepfocus 1.0.1 finds it, with what that merges: incomplete characters, white space, the highest source id."""
    source, target = _reference_forms(task.source), _reference_forms(task.target)
    exact: dict[str, list[int]] = {}
    fuzzy: dict[str, list[int]] = {}
    for number, form in source.items():
        exact.setdefault(form, []).insert(0, number)
        key = form.replace(MARK, "").lower()
        fuzzy.setdefault(key, []).insert(0 if key == form else len(fuzzy.get(key, [])), number)
    named = {task.target[number].surface for number in task.target.roles.values()}
    found = {}
    for number, form in target.items():
        key = form.replace(MARK, "").lower()
        special = task.target[number].kind == "special"
        candidates: list[int] | None = None
        if params.match_symbols and (key in named or is_symbol(key)):
            candidates = exact.get(form) or fuzzy.get(key)
        if not candidates and params.exact_match_all:
            candidates = exact.get(form)
        if not candidates and params.fuzzy_match_all:
            candidates = fuzzy.get(key)
        if candidates:
            found[number] = Match(candidates[0], "string" if special else "bytes")
    return found


def _reference_forms(vocabulary: Vocabulary) -> dict[int, str]:
    """Canonical form of each token as deepfocus makes it; which of its three branches is taken depends on counts of markers."""
    spaced = sum(token.text.startswith(b" ") for token in _texts(vocabulary).values())
    continued = sum(not token.text.startswith(b" ") for token in _texts(vocabulary).values())
    forms: dict[int, str] = {}
    for number in vocabulary.ids:
        token = vocabulary[number]
        text = token.text.decode("utf-8", "replace")
        if vocabulary.scheme == "sentencepiece" and spaced > 100:
            start_of_word = token.kind == "normal" and text.startswith(" ")
            forms[number] = token.surface if token.kind == "byte" else (MARK if start_of_word else "") + text.lstrip()
        elif vocabulary.scheme == "wordpiece" and continued > 100:
            forms[number] = text if token.kind != "special" and not text.startswith(" ") else MARK + text.strip()
        else:
            start_of_word = token.surface.startswith("Ġ")
            forms[number] = (MARK if start_of_word else "") + text.lstrip()
    return forms


def _texts(vocabulary: Vocabulary) -> Mapping[int, Any]:
    return {number: vocabulary[number] for number in vocabulary.text_ids if vocabulary[number].kind == "normal"}
