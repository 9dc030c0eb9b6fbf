"""Vocabularies as bytes and roles: the ground that every method stands on.

A token is what it stands for in a text, never its string in some vocabulary file: `Ġder`, `▁der` and WordPiece's `der` are the same five
bytes, `<0x0A>` and `Ċ` the same one. Special tokens stand for no text; they are known by their role. Overlap and segmentation
(`tokgraft.segmenter`) work on this form only, so no vocabulary string is ever fed to a tokenizer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from tokgraft.token_strings import Kind, Layout, check_ids, word_starts

ROLES = ("bos", "eos", "pad", "unk", "mask", "cls", "sep")
"""Roles of special tokens; when one token has several, the first one here decides what it is matched with."""


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
