"""How tokenizers write tokens: what a string of a vocabulary stands for, and the sections of tokenizer.json that say so."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, Literal

from tokgraft.errors import TokenizerError

Kind = Literal["normal", "byte", "special"]

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


def characters(text: bytes) -> int:
    """Number of characters that begin in `text`."""
    return sum(byte & 0xC0 != 0x80 for byte in text)
