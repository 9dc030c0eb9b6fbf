"""The hard gates of a tokenizer: round trip, reachability, special roles. Measured on any tokenizer, enforced on ours."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokgraft.errors import TokenizerError
from tokgraft.token_strings import TO_CHARACTER, Layout, vocabulary_of
from tokgraft.tokenizers.base import Base, load_base, to_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SAMPLES = 10
CLASSES = ("ok", "special", "added", "byte_fallback", "invalid_utf8", "blocked_by_pre_tokenizer", "blocked_by_merges")
CHALLENGES = (
    " ", "  two spaces lead", "trailing \t ", "a\r\nb\r\n\r\nc", "\n\n\n", "no\u00a0break\u202fspaces", "0123456789 3.14 1,000,000 ٣٤ ½",
    "👩\u200d💻 👨\u200d👩\u200d👧\u200d👦 🇪🇪 👍🏽 ✈\ufe0f", "می\u200cخواهم ශ්\u200dරී ക്\u200d", "e\u0301 vs é", "don't l'été it’s",
    "x = {'a': [1, 2]}  # \t tab", "zero\u200bwidth\ufeffbom", "日本語テキスト 한국어 ไทย ελληνικά Ελλάδα", "\x00\x01\x7f\x80\x9f",
    "".join(map(chr, range(256))), "".join(chr(lead) for lead in (0x7FF, 0x800, 0xFFF, 0x1000, 0xFFFD, 0x10000, 0x1F600, 0x40000, 0x10FFFF)),
    "".join(chr(plane << 6) for plane in range(2, 32)) + "".join(chr(plane << 12) for plane in range(1, 16) if plane != 13),
)  # fmt: skip


@dataclass(frozen=True)
class Reachability:
    """Which tokens a text can be encoded into.

    Args:
        classes: Class of `CLASSES` -> ids.
        unreachable: Ids that the model does not produce even for their own text, merges applied (`ignore_merges` off).
        unreachable_as_set: The same with `ignore_merges` as the file sets it.
    """

    classes: dict[str, list[int]]
    unreachable: list[int]
    unreachable_as_set: list[int]


def reachability(spec: dict[str, Any]) -> Reachability:
    """Class of every token of a parsed `tokenizer.json`.

    A token is reached when the model, given the token's own string as one word, answers with that token alone. Reached tokens are
    `ok`, `invalid_utf8` (a part of a character: normal in byte-level vocabularies) or `blocked_by_pre_tokenizer` (standing alone it
    is split before the model sees it; inside a text it may still occur). `byte_fallback` pieces answer for characters that have no
    piece. The others are `blocked_by_merges`.
    """
    kind = Layout.of(spec)
    merged, as_set = to_tokenizer(spec, merges_only=True), to_tokenizer(spec)
    special = {token["id"] for token in spec["added_tokens"] if token["special"]}
    added = {token["id"] for token in spec["added_tokens"]} - special
    classes: dict[str, list[int]] = {name: [] for name in CLASSES}
    hidden = []
    for token, index in sorted(vocabulary_of(spec).items(), key=lambda item: item[1]):
        name = "special" if index in special or token == kind.unk else "added" if index in added else _class(token, index, kind, merged)
        classes[name].append(index)
        if name not in ("special", "added", "byte_fallback") and not _reached(as_set, token, index, kind):
            hidden.append(index)
    return Reachability(classes, classes["blocked_by_merges"], hidden)


def _class(token: str, index: int, kind: Layout, tokenizer: Tokenizer) -> str:
    content, sort = kind.canonical(token)
    if sort == "byte":
        return "byte_fallback"
    if not _reached(tokenizer, token, index, kind):
        return "blocked_by_merges"
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return "invalid_utf8"
    if kind.scheme == "byte_level" and tokenizer.pre_tokenizer:
        pieces = [piece for piece, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text)]
        if pieces != [token.removeprefix(kind.marker)]:
            return "blocked_by_pre_tokenizer"
    return "ok"


def _reached(tokenizer: Tokenizer, token: str, index: int, kind: Layout) -> bool:
    model = tokenizer.model
    if kind.model["type"] == "WordPiece" and token.startswith(kind.marker) and len(token) > len(kind.marker):
        text = token[len(kind.marker) :]
        first_pieces = ("Ā", "ĉ") if kind.scheme == "byte_level" else ("a", "e", "x", "0", "-")  # bytes that begin no longer piece
        return any([piece.id for piece in model.tokenize(first + text)][1:] == [index] for first in first_pieces)
    return [piece.id for piece in model.tokenize(token)] == [index]


@dataclass(frozen=True)
class RoundTrip:
    """Texts that decoding does not give back, by their place in what was tried."""

    texts: int
    bytes: int
    failed: list[int]
    samples: list[dict[str, str]]


def round_trip(tokenizer: Tokenizer, texts: Sequence[str]) -> RoundTrip:
    """Encode and decode every text (special tokens neither added nor skipped) and compare exactly."""
    failed: list[int] = []
    samples: list[dict[str, str]] = []
    for start in range(0, len(texts), 4096):
        part = list(texts[start : start + 4096])
        encoded = tokenizer.encode_batch_fast(part, add_special_tokens=False)
        decoded = tokenizer.decode_batch([item.ids for item in encoded], skip_special_tokens=False)
        for place, (text, back) in enumerate(zip(part, decoded), start):
            if text != back:
                failed.append(place)
                if len(samples) < SAMPLES:
                    samples.append({"text": text[:200], "decoded": back[:200]})
    return RoundTrip(len(texts), sum(len(text.encode()) for text in texts), failed, samples)


def missing_bytes(spec: dict[str, Any]) -> list[int] | None:
    """Byte values without a token of their own; None for layouts that do not write bytes."""
    kind, vocabulary = Layout.of(spec), vocabulary_of(spec)
    if kind.scheme == "byte_level":
        return [value for value in range(256) if TO_CHARACTER[value] not in vocabulary]
    if kind.byte_fallback:
        return [value for value in range(256) if f"<0x{value:02X}>" not in vocabulary]
    return None


def special_problems(made: Base, base: Base | None) -> list[str]:
    """What is wrong with special tokens: absent, not encoded as one token, not unique, or BOS added otherwise than by the base."""
    tokenizer = to_tokenizer(made.spec)
    vocabulary = vocabulary_of(made.spec)
    flagged = {token["content"] for token in made.spec["added_tokens"] if token["special"]}
    owners: dict[int, str] = {}
    problems = []
    if "bos_token" not in made.roles:
        problems.append("no token has the role bos_token")
    for special in made.specials:
        index = vocabulary.get(special.content)
        if index is None:
            problems.append(f"{special.content} is not in the vocabulary")
            continue
        if special.content not in flagged:
            problems.append(f"{special.content} is not marked as special")
        if tokenizer.encode(special.content, add_special_tokens=False).ids != [index]:
            problems.append(f"{special.content} is not encoded as one token")
        if owners.setdefault(index, special.content) != special.content:
            problems.append(f"{special.content} and {owners[index]} share id {index}")
    encoded = tokenizer.encode("a b", add_special_tokens=True).tokens
    if encoded.count(made.roles.get("bos_token", "")) > 1:
        problems.append(f"encoding adds more than one BOS: {encoded}")
    if base is not None:
        problems += _against(made, base)
    return problems


def _against(made: Base, base: Base) -> list[str]:
    vocabulary = vocabulary_of(made.spec)
    problems = [f"special token {special.content} of the base is gone" for special in base.specials if special.content not in vocabulary]
    problems += [
        f"{role} is {made.roles.get(role)}, the base says {token}" for role, token in base.roles.items() if made.roles.get(role) != token
    ]
    if (made.prefix, made.suffix) != (base.prefix, base.suffix):
        problems.append(f"texts begin with {made.prefix} and end with {made.suffix}, the base's with {base.prefix} and {base.suffix}")
    return problems


def changed_ids(made: dict[str, Any], base: dict[str, Any]) -> list[str]:
    """Tokens of the base that an extension lost or renumbered."""
    new = vocabulary_of(made)
    return sorted(token for token, index in vocabulary_of(base).items() if new.get(token) != index)


def old_ids(made: dict[str, Any], base: dict[str, Any]) -> list[int | None]:
    """For every id of a tokenizer made of the base's: the base's id of the same token, None for a new one."""
    old, new = vocabulary_of(base), vocabulary_of(made)
    strings = {index: token for token, index in new.items()}
    return [old.get(strings[index]) if index in strings else None for index in range(max(new.values()) + 1)]


def audit(
    folder: Path, texts: Sequence[str], base: Base | None, extends: bool, own: bool, descends: bool = False, enforced: bool | None = None
) -> dict[str, Any]:
    """Audit the tokenizer in `folder`.

    Args:
        folder: Tokenizer folder.
        texts: Paragraphs that must survive the round trip; the constructed ones are added.
        base: The base tokenizer, audited beside it.
        extends: The base's ids must be unchanged.
        own: It was made here (a base tokenizer is only reported on). A text that the base itself does not give back is not held
            against what is made of it.
        descends: It has tokens of the base under other ids.
        enforced: Whether a broken gate is an error; as `own` when not given.

    Returns:
        The content of `audit.json`.

    Raises:
        TokenizerError: A gate is broken; the message carries samples.
    """
    enforced = own if enforced is None else enforced
    made = load_base(folder)
    texts = [*CHALLENGES, *texts]
    trip, reach = round_trip(to_tokenizer(made.spec), texts), reachability(made.spec)
    facts = _facts(made, trip, reach)
    excused: set[int] = set()
    if base is not None and own:
        base_trip = round_trip(to_tokenizer(base.spec), texts)
        facts["base"] = _facts(base, base_trip, reachability(base.spec))
        excused = set(base_trip.failed) if extends or descends else set()
        if extends and enforced:
            reach = _without_old(reach, base)
        elif descends:
            reach = _without_unreached(reach, made, base)
    problems = special_problems(made, base)
    facts["special_problems"] = problems
    if enforced:
        if extends and base is not None and (changed := changed_ids(made.spec, base.spec)):
            raise TokenizerError(
                f"{len(changed)} tokens of the base changed their id, e.g. {changed[:SAMPLES]}", "this is a defect of the trainer"
            )
        old_bytes = (missing_bytes(base.spec) or []) if (extends or descends) and base is not None else []
        _enforce(facts, trip, reach, made, excused, old_bytes)
    return facts


def _without_old(reach: Reachability, base: Base) -> Reachability:
    """Only what the extension added: tokens that the base itself never reached stay as they were."""
    old = set(vocabulary_of(base.spec).values())
    return Reachability(
        reach.classes,
        [index for index in reach.unreachable if index not in old],
        [index for index in reach.unreachable_as_set if index not in old],
    )


def _without_unreached(reach: Reachability, made: Base, base: Base) -> Reachability:
    """Without the tokens that the base itself does not reach."""
    strings = {index: token for token, index in vocabulary_of(made.spec).items()}
    old_strings = {index: token for token, index in vocabulary_of(base.spec).items()}
    before = reachability(base.spec)
    merged, as_set = ({old_strings[index] for index in ids} for ids in (before.unreachable, before.unreachable_as_set))
    return Reachability(
        reach.classes,
        [index for index in reach.unreachable if strings[index] not in merged],
        [index for index in reach.unreachable_as_set if strings[index] not in as_set],
    )


def _enforce(facts: dict[str, Any], trip: RoundTrip, reach: Reachability, made: Base, excused: set[int], old_bytes: Sequence[int]) -> None:
    failed = [place for place in trip.failed if place not in excused]
    if failed:
        raise TokenizerError(
            f"{len(failed)} of {trip.texts} texts do not survive the round trip, e.g. {json.dumps(trip.samples[:3], ensure_ascii=False)}",
            "look at the normalizer, pre-tokenizer and decoder of the trainer",
        )
    if reach.unreachable:
        strings = {index: token for token, index in vocabulary_of(made.spec).items()}
        sample = [strings[index] for index in reach.unreachable[:SAMPLES]]
        raise TokenizerError(
            f"{len(reach.unreachable)} tokens can never be produced, e.g. {sample}", "the trainer must add the merges they need"
        )
    lost = sorted(set(facts["missing_bytes"] or ()) - set(old_bytes))
    if lost:
        raise TokenizerError(f"byte values without a token: {lost[:SAMPLES]}", "the trainer must keep the full byte alphabet")
    if facts["special_problems"]:
        raise TokenizerError("special tokens: " + "; ".join(facts["special_problems"]), "look at the base's tokenizer_config.json")


def _facts(made: Base, trip: RoundTrip, reach: Reachability) -> dict[str, Any]:
    vocabulary = vocabulary_of(made.spec)
    strings = {index: token for token, index in vocabulary.items()}
    roles: dict[str, list[str]] = {}
    for role, token in sorted(made.roles.items()):
        roles.setdefault(token, []).append(role)
    return {
        "algorithm": made.kind.model["type"],
        "scheme": made.kind.scheme,
        "size": len(vocabulary),
        "special": [
            {"id": vocabulary.get(special.content), "token": special.content, "roles": roles.get(special.content, [])}
            for special in made.specials
        ],
        "adds": {"before": list(made.prefix), "after": list(made.suffix)},
        "reachability": {
            **{name: len(ids) for name, ids in reach.classes.items()},
            "unreachable": len(reach.unreachable),
            "unreachable_with_ignore_merges_as_set": len(reach.unreachable_as_set),
            "ignore_merges": bool(made.kind.model.get("ignore_merges")),
            "samples": {
                name: [strings[index] for index in reach.classes[name][:SAMPLES]]
                for name in ("blocked_by_merges", "blocked_by_pre_tokenizer")
            },
        },
        "missing_bytes": missing_bytes(made.spec),
        "round_trip": {"texts": trip.texts, "bytes": trip.bytes, "failed": len(trip.failed), "samples": trip.samples},
    }
