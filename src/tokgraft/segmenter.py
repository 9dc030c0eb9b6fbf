"""Text as ids of a vocabulary: what the source tokenizer makes of the bytes of a target token."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from itertools import chain, pairwise
from typing import Any

import numpy as np

from tokgraft.token_strings import TO_CHARACTER, Layout, components, part_of, word_starts
from tokgraft.vocab import Vocabulary

HIDDEN = "\ufdd0"  # begins the name of a special token that no text may find: Unicode reserves it for such inner use
TOGETHER = 512  # texts that the tokenizer is given as one


def _utf8(text: bytes) -> str | None:
    """The text, or None where it is not UTF-8 throughout."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        return None


def utf8_runs(text: bytes) -> list[tuple[bool, bytes]]:
    """`text` cut into longest runs of valid UTF-8 (True) and of bytes that are part of no character (False)."""
    runs: list[tuple[bool, bytes]] = []
    while text:
        try:
            text.decode()
            return [*runs, (True, text)]
        except UnicodeDecodeError as error:
            if error.start:
                runs.append((True, text[: error.start]))
            runs.append((False, text[error.start : error.end]))
            text = text[error.end :]
    return runs


class Segmenter:
    """Source ids for the bytes of a target token, as the source tokenizer would write them in the middle of a text.

    A leading space is kept, no dummy prefix is put in front, no text is taken for a special token. Bytes that are no characters, and
    characters that the vocabulary lacks, become byte tokens where the vocabulary has them and are left out otherwise.

    Args:
        tokenizer: The source tokenizer (fast).
        vocabulary: Its vocabulary; read from the tokenizer when not given.
    """

    def __init__(self, tokenizer: Any, vocabulary: Vocabulary | None = None) -> None:
        self.vocabulary = vocabulary or Vocabulary.from_tokenizer(tokenizer)
        self._layout = Layout.read(tokenizer)
        self._special = set(self.vocabulary.special_ids)
        self._bytes = self._byte_ids()
        self._tokenizer = _neutral(tokenizer.backend_tokenizer, self._layout)
        self._whole = self._layout.scheme == "byte_level" and self._tokenizer.normalizer is None
        lengths = [0 if token is None or token.kind == "special" else len(token.text) for token in self.vocabulary.tokens]
        self._lengths = np.array(lengths, dtype=np.int64)

    @cached_property
    def _raw(self) -> Any:
        """The tokenizer without normalizer and pre-tokenizer, for bytes of a byte-level vocabulary that are no characters."""
        from tokenizers import Tokenizer

        return Tokenizer(self._tokenizer.model)

    @cached_property
    def _words(self) -> dict[str, int]:
        """String -> id of the tokens that stand for text."""
        return {self.vocabulary[number].surface: number for number in self.vocabulary.text_ids}

    @cached_property
    def _begins(self) -> Callable[[str], bool]:
        return word_starts(self._tokenizer)

    def pieces(self, text: bytes) -> list[int]:
        """Source ids of `text`; empty only if nothing of it can be written."""
        return self.pieces_many([text])[0]

    def pieces_many(self, texts: Sequence[bytes]) -> list[list[int]]:
        """`pieces` of each text, in one batch."""
        read = [_utf8(text) for text in texts]
        encoded = iter(self._encode([text for text in read if text]))
        found = [next(encoded) if text else [] for text in read]
        return [ids or self._mixed(text, utf8_runs(text)) for ids, text in zip(found, texts)]

    def _mixed(self, text: bytes, parts: list[tuple[bool, bytes]]) -> list[int]:
        """Text that is not UTF-8 throughout, or of which the tokenizer's normalisation left nothing."""
        if self._layout.scheme == "byte_level":
            ids = self._raw.encode("".join(TO_CHARACTER[byte] for byte in text), add_special_tokens=False).ids
            return [number for number in ids if number not in self._special]
        ids = []
        for valid, part in parts:
            written = self._encode([part.decode()])[0] if valid else []
            ids += written or [self._bytes[byte] for byte in part if byte in self._bytes]
        return ids

    def _encode(self, texts: list[str]) -> list[list[int]]:
        if self._layout.scheme == "wordpiece":
            return [self._word_pieces(text) for text in texts]
        if self._layout.scheme == "sentencepiece":
            # Done here and not by the tokenizer's own parts: some of them drop or double spaces, or put one in front.
            texts = [text.replace(" ", self._layout.marker) for text in texts]
        encoded = self._encode_together(texts) if self._whole else self._encode_alone(texts)
        if self._special.isdisjoint(chain.from_iterable(encoded)):
            return encoded
        return [[number for number in ids if number not in self._special] for ids in encoded]

    def _encode_alone(self, texts: list[str]) -> list[list[int]]:
        return [item.ids for item in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

    def _encode_together(self, texts: list[str]) -> list[list[int]]:
        """Ids of each text, as `_encode_alone` gives them in 1.5 times the time.

        Groups of texts are encoded as one, and cut where the bytes of a text end.

        Without a normalizer pieces can only lack bytes, never add some: in a group whose pieces have as many bytes as its texts, each text has
        all of its own. Another group is encoded text by text.
        """
        groups = [texts[begin : begin + TOGETHER] for begin in range(0, len(texts), TOGETHER)]
        found: list[list[int]] = []
        for group, item in zip(groups, self._tokenizer.encode_batch_fast(groups, is_pretokenized=True, add_special_tokens=False)):
            ids: list[int] = item.ids
            written, given = np.cumsum(self._lengths[ids]), np.cumsum([len(text.encode()) for text in group])
            if len(ids) and written[-1] == given[-1]:
                cuts = np.searchsorted(written, given) + 1
                found += [ids[begin:end] for begin, end in pairwise([0, *cuts.tolist()])]
            else:
                found += self._encode_alone(group)
        return found

    def _word_pieces(self, text: str) -> list[int]:
        """Greedy longest match; unlike the tokenizer itself it can start inside a word, and skips only what it cannot write."""
        normalizer, splitter = self._tokenizer.normalizer, self._tokenizer.pre_tokenizer
        inside = not self._begins(text)
        text = normalizer.normalize_str(text) if normalizer is not None else text
        words = [word for word, _ in splitter.pre_tokenize_str(text)] if splitter is not None else text.split()
        ids: list[int] = []
        for number, word in enumerate(words):
            ids += self._greedy(word, inside and number == 0)
        return ids

    def _greedy(self, word: str, inside: bool) -> list[int]:
        ids: list[int] = []
        start = 0
        while start < len(word):
            prefixes = (self._layout.marker, "") if inside or start else ("",)
            hits = ((end, self._words.get(prefix + word[start:end])) for prefix in prefixes for end in range(len(word), start, -1))
            end, number = next(((end, number) for end, number in hits if number is not None), (start + 1, None))
            if number is not None:
                ids.append(number)
            start = end
        return ids

    def _byte_ids(self) -> dict[int, int]:
        found: dict[int, int] = {}
        for number, token in enumerate(self.vocabulary.tokens):
            if token is not None and token.kind == "byte":
                found.setdefault(token.text[0], number)
        return found


def _neutral(backend: Any, layout: Layout) -> Any:
    """A copy of the tokenizer without dummy prefix, post-processing and special tokens."""
    from tokenizers import Tokenizer

    normalizer, pre_tokenizer = _inner_parts(backend)
    made = _sharing(backend, layout)
    if made is None:
        spec = json.loads(backend.to_str())
        spec.update(post_processor=None, truncation=None, padding=None)
        _hide_specials(spec, _specials(layout))
        made = Tokenizer.from_str(json.dumps(spec))
    made.normalizer, made.pre_tokenizer = normalizer, pre_tokenizer
    return made


def _inner_parts(backend: Any) -> tuple[Any, Any]:
    """Normalizer and pre-tokenizer for the middle of a text: neither puts a space in front."""
    from tokenizers import Tokenizer

    normalizer, pre_tokenizer = part_of(backend.normalizer), part_of(backend.pre_tokenizer)
    for part in components(pre_tokenizer):
        if part["type"] == "ByteLevel":
            part["add_prefix_space"] = False
        elif part["type"] == "Metaspace":
            part["prepend_scheme"] = "never"
    spec: dict[str, Any] = {
        "normalizer": _without(normalizer, "Prepend"), "pre_tokenizer": pre_tokenizer, "model": {"type": "BPE", "vocab": {}, "merges": []},
        "added_tokens": [], "post_processor": None, "decoder": None,
    }  # fmt: skip
    made = Tokenizer.from_str(json.dumps(spec))
    return made.normalizer, made.pre_tokenizer


def _specials(layout: Layout) -> set[str]:
    return {entry["content"] for entry in layout.added if entry["special"]} | ({layout.unk} if layout.unk else set())


def _sharing(backend: Any, layout: Layout) -> Any:
    """A tokenizer around the same model, which is not copied, without special tokens; None where the model itself may write one.

    The merges of a BPE model write only what they join; Unigram and longest match find any string of the vocabulary in a text.
    """
    from tokenizers import AddedToken, Tokenizer

    inside = [surface for surface in _specials(layout) if backend.model.token_to_id(surface) is not None]
    merges = layout.model["type"] == "BPE" and not layout.model.get("ignore_merges") and all(len(surface) > 1 for surface in inside)
    if inside and not merges and layout.scheme != "wordpiece":
        return None
    made, added = Tokenizer(backend.model), sorted(backend.get_added_tokens_decoder().items())
    if any(not token.special for _, token in added):
        # Those outside the model are numbered by the library, one after the other: special ones keep their places under other names.
        outside = ((number, token) for number, token in added if not (token.special and token.content in layout.inside))
        made.add_tokens([AddedToken(f"{HIDDEN}{number}", special=False) if token.special else token for number, token in outside])
    if any(made.token_to_id(token.content) != number for number, token in added if not token.special):
        return None
    return made


def _without(section: dict[str, Any] | None, kind: str) -> dict[str, Any] | None:
    kept = [part for part in components(section) if part["type"] != kind]
    if not kept:
        return None
    return kept[0] if len(kept) == 1 else {"type": "Sequence", "normalizers": kept}


def _hide_specials(spec: dict[str, Any], specials: Iterable[str]) -> None:
    model = spec["model"]
    merged = {part for merge in model.get("merges") or [] for part in (*_pair(merge), "".join(_pair(merge)))}
    names = {surface: f"{HIDDEN}{number}" for number, surface in enumerate(sorted(specials)) if surface not in merged}
    if isinstance(model["vocab"], dict):
        model["vocab"] = {names.get(surface, surface): number for surface, number in model["vocab"].items()}
    else:
        model["vocab"] = [[names.get(surface, surface), score] for surface, score in model["vocab"]]
    if model.get("unk_token") is not None:
        model["unk_token"] = names.get(model["unk_token"], model["unk_token"])
    for entry in spec["added_tokens"]:
        entry["content"] = names.get(entry["content"], entry["content"])


def _pair(merge: Any) -> list[str]:
    return str(merge).split(" ") if isinstance(merge, str) else list(merge)
