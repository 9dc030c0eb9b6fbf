"""Vocabularies as bytes and roles: the ground that every method stands on.

A token is what it stands for in a text, never its string in some vocabulary file: `Ġder`, `▁der` and WordPiece's `der` are the same five
bytes, `<0x0A>` and `Ċ` the same one. Special tokens stand for no text; they are known by their role. Overlap and segmentation
(`tokgraft.segmenter`) work on this form only, so no vocabulary string is ever fed to a tokenizer.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any, Literal

from tokgraft.errors import TokenizerError

Kind = Literal["normal", "byte", "special"]
Level = Literal["exact", "bytes", "role", "string", "substitute"]

ROLES = ("bos", "eos", "pad", "unk", "mask", "cls", "sep")
"""Roles of special tokens; when one token has several, the first one here decides what it is matched with."""

SUBSTITUTES = {
    "bos": ("cls", "eos"),
    "cls": ("bos", "eos"),
    "eos": ("sep", "bos"),
    "sep": ("eos", "bos"),
    "pad": ("eos", "sep"),
    "mask": ("unk", "pad"),
    "unk": ("pad",),
}
"""Which role stands in for one that the source lacks."""

BYTE_TOKEN = re.compile(r"^<0x([0-9A-Fa-f]{2})>$")


def _byte_alphabet() -> dict[int, str]:
    """Byte -> printable character, the alphabet of byte-level BPE: printable Latin-1 stands for itself, the rest moves to U+0100 on."""
    own = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    moved = (byte for byte in range(256) if byte not in own)
    return {byte: chr(byte) for byte in own} | {byte: chr(0x100 + number) for number, byte in enumerate(moved)}


TO_CHARACTER = _byte_alphabet()
TO_BYTE = {character: byte for byte, character in TO_CHARACTER.items()}
NO_BYTE = "\uffff"
TO_LATIN = str.maketrans({chr(code): NO_BYTE for code in range(256)} | {character: chr(byte) for character, byte in TO_BYTE.items()})
"""Byte-level characters -> the characters whose Latin-1 codes are their bytes; Latin-1 characters that stand for none -> `NO_BYTE`."""


GAPS = 2**16
"""Ids without a token that every vocabulary may have; a larger one may have as many as it has tokens."""


MODEL_FACTS = ("unk_token", "byte_fallback", "continuing_subword_prefix", "end_of_word_suffix", "ignore_merges")


def check_ids(ids: Mapping[str, int], where: str) -> None:
    """Refuse ids that no table of rows can follow.

    Args:
        ids: Token -> id.
        where: What the error names.

    Raises:
        TokenizerError: No tokens, two tokens with one id, or ids far beyond the number of tokens (a table of rows has one for each id, so
            a single id of 10^9 would fill the memory).
    """
    if not ids:
        raise TokenizerError(f"{where} has no tokens", "give another tokenizer")
    lowest, highest = min(ids.values()), max(ids.values())
    if lowest < 0 or highest >= 2 * len(ids) + GAPS:
        raise TokenizerError(f"{where} has {len(ids):,} tokens, but ids from {lowest} to {highest}", "number its tokens from 0 on")
    if len(set(ids.values())) < len(ids):
        holder: dict[int, str] = {}
        for token, number in ids.items():
            if (other := holder.setdefault(number, token)) != token:
                raise TokenizerError(f"{where} gives the id {number} to {other!r} and to {token!r}", "give each token an id of its own")


def check_spec(spec: Mapping[str, Any], where: str) -> None:
    """`check_ids` of a tokenizer.json as parsed, before the library reads it: it takes memory for every id up to the largest, and ends the
    process when there is not enough. What else is wrong in the file, the library finds.

    Raises:
        TokenizerError: As `check_ids`.
    """
    model, added = spec.get("model"), spec.get("added_tokens")
    entries = model.get("vocab") if isinstance(model, dict) else None
    ids: dict[Any, Any] = dict(entries) if isinstance(entries, dict) else {}
    if isinstance(entries, list):
        ids = {str(entry): index for index, entry in enumerate(entries)}
    for token in added if isinstance(added, list) else ():
        if isinstance(token, dict) and not (isinstance(entries, list) and token.get("id") in range(len(entries))):
            ids[str(token.get("content"))] = token.get("id")
    whole = {token: number for token, number in ids.items() if type(number) is int}
    if whole:
        check_ids(whole, where)


def vocabulary_of(spec: Mapping[str, Any]) -> dict[str, int]:
    """Token -> id of the whole vocabulary of a parsed tokenizer.json, added tokens included."""
    entries = spec["model"]["vocab"]
    tokens = {entry[0]: index for index, entry in enumerate(entries)} if isinstance(entries, list) else dict(entries)
    tokens.update((added["content"], added["id"]) for added in spec.get("added_tokens") or ())
    return tokens


@dataclass(frozen=True, slots=True)
class Token:
    """One entry of a vocabulary.

    Attributes:
        text: The bytes it stands for in a text; for a special token the UTF-8 of its string.
        kind: "normal", "byte" (byte fallback, `<0x0A>`) or "special".
        roles: Its roles, in the order of `ROLES`; empty for most.
        surface: Its string in the vocabulary; breaks ties only.
        added: Whether it was added to the vocabulary as a whole string; most special tokens are, and some others (`<think>`).
        fits: Whether its tokenizer writes its bytes so in the middle of a text. WordPiece has two tokens for the bytes of a full stop: `.`,
            since the pre-tokenizer makes it a word wherever it stands, and `##.`, which does not fit; of the bytes `er` it is `er`.
        free: Whether it is a word of its own with and without a space before it (WordPiece: punctuation, Chinese characters).
    """

    text: bytes
    kind: Kind
    roles: tuple[str, ...]
    surface: str
    added: bool = False
    fits: bool = True
    free: bool = False

    @property
    def shown(self) -> str:
        """Readable text; bytes that are not UTF-8 appear as \\xHH."""
        return self.text.decode("utf-8", "backslashreplace")


@dataclass(frozen=True)
class Vocabulary:
    """The tokens of a tokenizer by id.

    Attributes:
        tokens: Token of each id, None for an id without one; the length is the largest id + 1.
        scheme: How the tokenizer writes tokens: "byte_level", "sentencepiece", "wordpiece" or "plain".
    """

    tokens: tuple[Token | None, ...]
    scheme: str

    @classmethod
    def from_tokenizer(cls, tokenizer: Any) -> Vocabulary:
        """Read a fast Hugging Face tokenizer.

        Raises:
            TokenizerError: It has no tokenizer.json form, no tokens, or writes tokens in a way that is not known.
        """
        layout = Layout.read(tokenizer)
        vocab: dict[str, int] = tokenizer.get_vocab()
        check_ids(vocab, "the tokenizer")
        roles = _roles_of(tokenizer, vocab, layout.unk)
        added = {entry["id"] for entry in layout.added}
        special = {entry["id"] for entry in layout.added if entry["special"]} | set(roles)
        begins = word_starts(tokenizer.backend_tokenizer) if layout.marker and layout.scheme in ("byte_level", "wordpiece") else None
        tokens: list[Token | None] = [None] * (max(vocab.values()) + 1)
        for surface, number in vocab.items():
            text, kind = layout.canonical(surface)
            if number in special:
                text, kind = surface.encode(), "special"
            elif begins is not None and number not in added:
                tokens[number] = _placed(Token(text, kind, (), surface), layout, begins)
                continue
            tokens[number] = Token(text, kind, tuple(roles.get(number, ())), surface, number in added)
        return cls(tuple(tokens), layout.scheme)

    def __len__(self) -> int:
        return len(self.tokens)

    @cached_property
    def ids(self) -> tuple[int, ...]:
        """All ids that have a token, ascending."""
        return tuple(number for number, token in enumerate(self.tokens) if token is not None)

    @cached_property
    def special_ids(self) -> tuple[int, ...]:
        """Ids of special tokens, ascending."""
        return tuple(number for number, token in enumerate(self.tokens) if token is not None and token.kind == "special")

    @cached_property
    def text_ids(self) -> tuple[int, ...]:
        """Ids of tokens that stand for text (normal and byte fallback), ascending."""
        return tuple(number for number, token in enumerate(self.tokens) if token is not None and token.kind != "special")

    @cached_property
    def roles(self) -> dict[str, int]:
        """Role -> id, for the roles that this vocabulary has, in the order of `ROLES`."""
        found = {role: number for number, token in enumerate(self.tokens) if token is not None for role in token.roles}
        return {role: found[role] for role in ROLES if role in found}

    @cached_property
    def canonical_order(self) -> tuple[int, ...]:
        """All ids, ordered by what the tokens are and not by their ids, so that a random draw for a token does not depend on its id."""
        keys = [(token.kind, token.text, token.surface, number) for number, token in enumerate(self.tokens) if token is not None]
        return tuple(key[-1] for key in sorted(keys))

    def __getitem__(self, number: int) -> Token:
        """The token with id `number`.

        Raises:
            KeyError: The id has no token.
        """
        token = self.tokens[number] if 0 <= number < len(self.tokens) else None
        if token is None:
            raise KeyError(number)
        return token

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over text, kind and roles of every id: equal for tokenizers whose rows mean the same."""
        digest = hashlib.sha256()
        for number in self.ids:
            token = self[number]
            digest.update(f"{number}\t{token.kind}\t{','.join(token.roles)}\t{token.text.hex()}\n".encode())
        return digest.hexdigest()

    @cached_property
    def text_fingerprint(self) -> str:
        """SHA-256 over id and text of the tokens that stand for text: special tokens may differ."""
        digest = hashlib.sha256()
        for number in self.text_ids:
            digest.update(f"{number}\t{self[number].text.hex()}\n".encode())
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Match:
    """The source token that a target token is.

    Attributes:
        source: Id in the source vocabulary.
        level: "exact" (bytes and kind), "bytes", or for special tokens "role", "string" (no role in common, the same string),
            "substitute" (another role stands in). "string" is also an added token that is special in one vocabulary only.
    """

    source: int
    level: Level


def overlap(source: Vocabulary, target: Vocabulary) -> dict[int, Match]:
    """Target id -> the same token of the source, for every target token that the source has, by ascending id.

    Text tokens match by bytes. Among several source tokens with the same bytes the first of these wins: equal kind, the one that its
    tokenizer writes in that place (`Token.fits`), equal string, lowest id. A token that is a word with and without a space before it
    (`Token.free`) is looked for without the space first. Special tokens match by role, then by string, then by a substitute role
    (`SUBSTITUTES`). Added tokens match by string, also where they are special in one vocabulary only; no other text meets a special token.
    """
    by_text, of_source = _ids_by_text(source), source.tokens
    special = {source[number].text: number for number in source.special_ids}
    strings = {
        token.text: number for number, token in enumerate(source.tokens) if token and token.added and token.kind != "special"
    } | special
    found: dict[int, Match] = {}
    for number, token in enumerate(target.tokens):
        if token is None:
            continue
        if token.kind == "special":
            match = _match_special(token, source, strings if token.added else special)
        elif not token.free and type(best := by_text.get(token.text)) is int:  # nearly all tokens, so without a call
            match = Match(best, "exact" if of_source[best].kind == token.kind else "bytes")  # type: ignore[union-attr]
        else:
            match = _match_text(token, source, by_text)
            if match is None and token.added and (same := special.get(token.text)) is not None and source[same].added:
                match = Match(same, "string")
        if match is not None:
            found[number] = match
    return found


def shared_sources(matches: Mapping[int, Match], source: Vocabulary, target: Vocabulary) -> dict[int, int]:
    """Target id -> id of the target token that it shares its source token with, for each special token that is not the source's own.

    A source with one `<|endoftext|>` gives it to `<s>`, `</s>` and `<pad>` of the target. One of them is what it was: the one that ends a
    text where the source token does, else the one with the same string, the best level, the lowest id. The others stand in for it.
    """
    several: dict[int, list[int]] = {}
    for number in target.special_ids:
        if (match := matches.get(number)) is not None:
            several.setdefault(match.source, []).append(number)
    found: dict[int, int] = {}
    for origin, numbers in several.items():
        if len(numbers) < 2:
            continue
        ends = not {"eos", "sep"}.isdisjoint(source[origin].roles)

        def rank(number: int, ends: bool = ends, text: bytes = source[origin].text) -> tuple[bool, bool, bool, int]:
            token = target[number]
            return not (ends and "eos" in token.roles), token.text != text, matches[number].level == "substitute", number

        own = min(numbers, key=rank)
        found |= {number: own for number in numbers if number != own}
    return dict(sorted(found.items()))


def _ids_by_text(vocabulary: Vocabulary) -> dict[bytes, int | list[int]]:
    """Bytes -> the id of the text token that stands for them; ascending ids, where there are several."""
    texts = [token.text for token in vocabulary.tokens if token is not None and token.kind != "special"]  # in the order of text_ids
    found: dict[bytes, int | list[int]] = dict(zip(texts, vocabulary.text_ids))
    if len(found) < len(texts):
        several = {text for text, count in Counter(texts).items() if count > 1}
        found |= {text: [] for text in several}
        for text, number in zip(texts, vocabulary.text_ids):
            if isinstance(ids := found[text], list):
                ids.append(number)
    for number, token in enumerate(vocabulary.tokens):
        if token is not None and token.free:
            there = found.get(text := token.text.removeprefix(b" "), [])
            found[text] = sorted({number, *(there if isinstance(there, list) else [there])})
    return found


def _match_text(token: Token, source: Vocabulary, by_text: dict[bytes, int | list[int]]) -> Match | None:
    best = by_text.get(token.text.removeprefix(b" ")) if token.free else None
    if best is None:
        best = by_text.get(token.text)
    if best is None:
        return None
    if isinstance(best, list):
        best = min(best, key=lambda number: _distance(token, source[number], number))
    return Match(best, "exact" if source[best].kind == token.kind else "bytes")


def _distance(token: Token, candidate: Token, number: int) -> tuple[bool, bool, bool, int]:
    return candidate.kind != token.kind, candidate.fits != token.fits, candidate.surface != token.surface, number


def _match_special(token: Token, source: Vocabulary, by_string: Mapping[bytes, int]) -> Match | None:
    candidates = [source.roles[role] for role in token.roles if role in source.roles]
    if candidates:
        same = [number for number in candidates if source[number].text == token.text]
        return Match((same or candidates)[0], "role")
    if token.text in by_string:
        return Match(by_string[token.text], "string")
    for role in token.roles:
        for other in SUBSTITUTES[role]:
            if other in source.roles:
                return Match(source.roles[other], "substitute")
    return None


def word_starts(backend: Any) -> Callable[[str], bool]:
    """Whether a text begins a new word where it follows a letter, by its first character.

    Args:
        backend: A `tokenizers.Tokenizer`.
    """
    normalizer, splitter = backend.normalizer, backend.pre_tokenizer

    @cache
    def begins(character: str) -> bool:
        if character.isspace():
            return True
        text = "a" + character
        text = normalizer.normalize_str(text) if normalizer is not None else text
        words = [word for word, _ in splitter.pre_tokenize_str(text)] if splitter is not None else [text]
        return len(words) > 1 and words[0].lstrip("Ġ▁ ") == "a"

    return lambda text: begins(text[:1])


def _placed(token: Token, layout: Layout, begins: Callable[[str], bool]) -> Token:
    """A text token of a tokenizer that marks the pieces inside words, with what is known of its places."""
    inside = token.surface.startswith(layout.marker) and len(token.surface) > len(layout.marker)
    try:
        text = token.text.decode()
    except UnicodeDecodeError:
        return token
    apart = begins(text.removeprefix(" ") if layout.scheme == "wordpiece" and not inside else text)
    if layout.scheme == "wordpiece" and not inside:
        return replace(token, free=apart)
    return replace(token, fits=inside != apart)


@dataclass(frozen=True)
class Layout:
    """How a tokenizer writes tokens, read from its tokenizer.json.

    Attributes:
        scheme: As in `Vocabulary`.
        marker: "▁" (or what stands for it) or the continuation prefix "##" (WordPiece, also on bytes); empty otherwise.
        byte_fallback: Whether `<0xHH>` tokens stand for bytes.
        model: The model's section of tokenizer.json; of a tokenizer that is not Unigram `read` leaves vocabulary and merges out.
        added: The added tokens (id, content, special, ...).
        inside: The added tokens that the model itself knows, too.
    """

    scheme: str
    marker: str
    byte_fallback: bool
    model: dict[str, Any]
    added: list[dict[str, Any]]
    inside: frozenset[str]

    @classmethod
    def read(cls, tokenizer: Any) -> Layout:
        """Read a fast Hugging Face tokenizer.

        Raises:
            TokenizerError: It has no fast form, or marks the ends of words by a suffix.
        """
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise TokenizerError(f"{type(tokenizer).__name__} has no fast form (tokenizer.json)", "convert it to a tokenizer.json first")
        if (kind := type(backend.model).__name__) == "Unigram":
            return cls.of(json.loads(backend.to_str()))
        # Not by way of the whole file: the merges of a large vocabulary take a second to write and to parse.
        added = [{"id": number, **token_facts(token)} for number, token in sorted(backend.get_added_tokens_decoder().items())]
        parts: dict[str, Any] = {name: part_of(getattr(backend, name)) for name in ("normalizer", "pre_tokenizer", "decoder")}
        model = {"type": kind, **{name: getattr(backend.model, name, None) for name in MODEL_FACTS}}
        inside = (entry["content"] for entry in added if backend.model.token_to_id(entry["content"]) is not None)
        return cls._of({**parts, "model": model, "added_tokens": added}, frozenset(inside))

    @classmethod
    def of(cls, spec: dict[str, Any]) -> Layout:
        """The layout of a parsed tokenizer.json, as the library writes it.

        Raises:
            TokenizerError: It marks the ends of words by a suffix.
        """
        vocab = spec["model"]["vocab"]
        known = vocab if isinstance(vocab, dict) else {piece for piece, _ in vocab}
        return cls._of(spec, frozenset(entry["content"] for entry in spec["added_tokens"] if entry["content"] in known))

    @classmethod
    def _of(cls, spec: dict[str, Any], inside: frozenset[str]) -> Layout:
        model = spec["model"]
        if model.get("end_of_word_suffix"):
            raise TokenizerError(
                f"tokenizers that mark the end of a word ({model['end_of_word_suffix']!r}) are not supported",
                "use a byte-level, SentencePiece or WordPiece tokenizer",
            )
        scheme, marker = _scheme(spec)
        decoders = {part["type"] for part in components(spec.get("decoder"))}
        fallback = bool(model.get("byte_fallback")) or "ByteFallback" in decoders
        return cls(scheme, marker, fallback, model, spec["added_tokens"], inside)

    @cached_property
    def literal(self) -> frozenset[str]:
        """Tokens that stand for their own string: added ones that the model does not know, and all added ones of a byte-level vocabulary."""
        added = frozenset(entry["content"] for entry in self.added)
        return added if self.scheme == "byte_level" else added - self.inside

    @property
    def unk(self) -> str | None:
        """The model's own unknown token."""
        if isinstance(number := self.model.get("unk_id"), int):
            return str(self.model["vocab"][number][0])
        return self.model.get("unk_token")

    def canonical(self, surface: str) -> tuple[bytes, Kind]:
        """What a vocabulary string stands for, special tokens aside."""
        if surface in self.literal:
            return surface.encode(), "normal"
        if self.scheme == "byte_level":
            if self.marker and len(surface) > len(self.marker):
                surface = surface.removeprefix(self.marker)
            try:
                return surface.translate(TO_LATIN).encode("latin-1"), "normal"
            except UnicodeEncodeError:
                return surface.encode(), "normal"
        if self.byte_fallback and surface.startswith("<0x") and (found := BYTE_TOKEN.match(surface)):
            return bytes([int(found[1], 16)]), "byte"
        if self.scheme == "sentencepiece":
            return surface.replace(self.marker, " ").encode(), "normal"
        if self.scheme == "wordpiece":
            continued = surface.startswith(self.marker) and len(surface) > len(self.marker)
            return (surface[len(self.marker) :] if continued else " " + surface).encode(), "normal"
        return surface.encode(), "normal"


def part_of(part: Any) -> dict[str, Any] | None:
    """A normalizer, pre-tokenizer or decoder of the tokenizers library as it stands in tokenizer.json."""
    return None if part is None else dict(json.loads(part.__getstate__()))


def token_facts(token: Any) -> dict[str, Any]:
    """An added token of the tokenizers library as it stands in tokenizer.json, without its id."""
    return {name: getattr(token, name) for name in ("content", "single_word", "lstrip", "rstrip", "normalized", "special")}


def components(section: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The parts of a normalizer, pre-tokenizer or decoder section of tokenizer.json, sequences unrolled."""
    if section is None:
        return []
    for key in ("normalizers", "pretokenizers", "decoders"):
        if key in section:
            return [part for inner in section[key] for part in components(inner)]
    return [section]


def _scheme(spec: dict[str, Any]) -> tuple[str, str]:
    parts = [part for name in ("normalizer", "pre_tokenizer", "decoder") for part in components(spec.get(name))]
    model = spec["model"]
    if any(part["type"] == "ByteLevel" for part in parts):
        return "byte_level", model.get("continuing_subword_prefix") or ""
    if prefix := model.get("continuing_subword_prefix"):
        return "wordpiece", prefix
    for part in parts:
        if part["type"] == "Metaspace":
            return "sentencepiece", part["replacement"]
        if part["type"] == "Replace" and part["pattern"].get("String") == " " and part["content"] == "▁":
            return "sentencepiece", "▁"
        if part["type"] == "Replace" and part["pattern"].get("String") == "▁" and part["content"] == " ":
            return "sentencepiece", "▁"
    return ("sentencepiece", "▁") if model["type"] == "Unigram" else ("plain", "")


def _roles_of(tokenizer: Any, vocab: dict[str, int], unk: str | None) -> dict[int, list[str]]:
    """Id -> roles, in the order of `ROLES`."""
    found: dict[int, list[str]] = {}
    for role in ROLES:
        token = getattr(tokenizer, f"{role}_token", None)
        if token is None and role == "unk":
            token = unk
        if token is not None and (number := vocab.get(str(token))) is not None:
            found.setdefault(number, []).append(role)
    return found
