"""Token ids in config and generation config: where they stand, and what they become when a model gets another vocabulary."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tokgraft.errors import UnsupportedError
from tokgraft.logs import log
from tokgraft.overlap import SUBSTITUTES, Match
from tokgraft.vocab import ROLES, Vocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ROLE_KEYS = {f"{role}_token_id": role for role in ROLES}
GENERATION_KEYS = {
    "suppress_tokens", "begin_suppress_tokens", "forced_bos_token_id", "forced_eos_token_id", "forced_decoder_ids",
    "decoder_start_token_id", "bad_words_ids", "force_words_ids", "sequence_bias",
}  # fmt: skip
"""Keys that only change how text is generated: an id among them that cannot be mapped is left out."""
SEQUENCES = {"bad_words_ids", "force_words_ids", "sequence_bias"}
"""Keys of token sequences: one that has lost a token is another sequence, and is left out whole."""
NAMES_IDS = re.compile(r"_token_ids?$|_tokens?_index$|_token_idx$")
STAND_INS = {**SUBSTITUTES, "decoder_start": ("bos", "cls", "eos"), "forced_bos": ("bos", "cls"), "forced_eos": ("eos", "sep")}


@dataclass
class Moved:
    """An entry of a config that names tokens, before and after.

    Attributes:
        where: Dotted name of the entry, as "generation_config.eos_token_id".
        old: Its value in the base model.
        new: Its value in the new vocabulary; None where nothing is left.
        dropped: Ids of the base that no token of the new vocabulary stands for, with their tokens.
    """

    where: str
    old: Any
    new: Any = None
    dropped: dict[int, str] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """As it stands in transplant.json."""
        dropped = {str(number): token for number, token in self.dropped.items()}
        return {"old": listed(self.old), "new": listed(self.new)} | ({"dropped": dropped} if dropped else {})


def settings_of(model: PreTrainedModel) -> Iterator[tuple[str, Any]]:
    """Every config of a model whose ids may be of its text vocabulary, with its name: its own, nested ones, the generation config.

    A nested config that has a vocabulary of another size (audio codes, for example) is left out.
    """
    yield from _configs("config", model.config, model.config.get_text_config().vocab_size)
    if getattr(model, "generation_config", None) is not None:
        yield "generation_config", model.generation_config


def _configs(name: str, config: Any, rows: int) -> Iterator[tuple[str, Any]]:
    yield name, config
    for key, value in vars(config).items():
        if hasattr(value, "model_type") and hasattr(value, "to_dict") and getattr(value, "vocab_size", rows) in (None, rows):
            yield from _configs(f"{name}.{key}", value, rows)


def names_ids(key: str) -> bool:
    """Whether the entry `key` of a config holds token ids."""
    return key in GENERATION_KEYS or ("codebook" not in key and NAMES_IDS.search(key) is not None)


def follow(model: PreTrainedModel, source: Vocabulary, target: Vocabulary, overlap: Mapping[int, Match]) -> list[Moved]:
    """Give every token id of config and generation config its meaning in a new vocabulary; in place, before the tables are replaced.

    An id becomes the id of the same token: the token with its role where the entry is a role's, else the special or added token with the same
    string, else the token that shares its row (`overlap`). An end token beside the tokenizer's own is kept, so that a chat model still ends its
    turn. What has no such token is left out and warned of; where a config takes no empty value, a special token of the nearest role stands in.

    Args:
        model: The base model.
        source: Its vocabulary.
        target: The new vocabulary; at least one token has a role.
        overlap: Target id -> the source token that it is.

    Returns:
        The entries that name tokens, in order.

    Raises:
        UnsupportedError: The model needs a token that the new vocabulary lacks (the place of an image, for example).
    """
    tokens = _Tokens(source, target, overlap)
    return [_follow(name, settings, key, tokens, model) for name, settings in settings_of(model) for key in _entries(settings)]


def _entries(settings: Any) -> list[str]:
    """Entries that hold ids, and the three roles that every config has."""
    held = [key for key, value in vars(settings).items() if names_ids(key) and value is not None]
    always = [f"{role}_token_id" for role in ("bos", "eos", "pad") if hasattr(settings, f"{role}_token_id")]
    return sorted({*held, *always})


def _follow(name: str, settings: Any, key: str, tokens: _Tokens, model: PreTrainedModel) -> Moved:
    moved, role = Moved(f"{name}.{key}", getattr(settings, key)), ROLE_KEYS.get(key)
    value = _mapped(moved.old, key, moved, tokens) if role is None else _role(role, moved, tokens)
    moved.new = None if value in ([], {}) else value
    optional = role is not None or key in GENERATION_KEYS
    wrapped = model.config.get_text_config() is not model.config
    if moved.new is None and moved.dropped and wrapped and not optional:
        raise _lacking(moved, model)
    tried = [moved.new]
    if isinstance(moved.new, list):
        tried.append(moved.new[0])  # a config may take one end token only; the generation config takes all
    elif moved.new is None and optional:
        tried.append(_stand_in(key.removesuffix("_token_id"), tokens.target))
    if not any(put(settings, key, candidate) for candidate in tried):
        raise _lacking(moved, model)
    moved.new = getattr(settings, key)
    if moved.dropped:
        shown = ", ".join(f"{token!r} ({number})" for number, token in moved.dropped.items())
        log.warning("%s: %s is not in the new vocabulary and is left out; it is now %s", moved.where, shown, moved.new)
    return moved


def _role(role: str, moved: Moved, tokens: _Tokens) -> Any:
    """The new id of a role: the tokenizer's own; of the end token with every other stop id that the base had."""
    own, old = tokens.target.roles.get(role), moved.old
    if own is not None and role != "eos":
        return own
    numbers = [] if old is None else list(old) if isinstance(old, (list, tuple)) else [old]
    # The base's token of this role is the new vocabulary's, whatever it is called.
    theirs = tokens.source.roles.get(role)
    found = [] if own is None else [own]
    for number in numbers:
        if own is None or number != theirs:
            found += [new for new in [tokens.new(number, role, moved)] if new is not None]
    found = list(dict.fromkeys(found))
    return found if len(found) > 1 else found[0] if found else None


def _mapped(value: Any, key: str, moved: Moved, tokens: _Tokens) -> Any:
    """A value with every id mapped: an id, a list of ids, pairs of position and id, sequences, or sequences with a number each."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return tokens.new(value, key, moved)
    if isinstance(value, Mapping):
        found = {ids: _mapped_sequence(ids, key, moved, tokens) for ids in value}
        return {tuple(new): value[ids] for ids, new in found.items() if new is not None}
    if not isinstance(value, (list, tuple)):
        return value
    if key == "forced_decoder_ids":
        pairs = [[place, _mapped(number, key, moved, tokens)] for place, number in value]
        return [pair for pair in pairs if pair[1] is not None]
    if key in SEQUENCES:
        return [new for new in (_mapped_sequence(inner, key, moved, tokens) for inner in value) if new is not None]
    return list(dict.fromkeys(new for new in (_mapped(number, key, moved, tokens) for number in value) if new is not None))


def _mapped_sequence(value: Any, key: str, moved: Moved, tokens: _Tokens) -> Any:
    """A sequence of ids, however deep it is nested; None where a token of it is lost. Numbers that are no ids (a bias) stay."""
    if isinstance(value, float):
        return value
    if not isinstance(value, (list, tuple)):
        return tokens.new(value, key, moved)
    found = [_mapped_sequence(inner, key, moved, tokens) for inner in value]
    return None if None in found or not found else found


class _Tokens:
    """Both vocabularies, and what an id of the one is in the other."""

    def __init__(self, source: Vocabulary, target: Vocabulary, overlap: Mapping[int, Match]) -> None:
        self.source, self.target = source, target
        self._strings = {token.text: number for number, token in enumerate(target.tokens) if token is not None and token.kind == "normal"}
        self._strings |= {target[number].text: number for number in target.special_ids}
        self._shared: dict[int, list[int]] = {}
        for number, match in overlap.items():
            if match.level != "substitute":
                self._shared.setdefault(match.source, []).append(number)

    def new(self, number: int, key: str, moved: Moved) -> int | None:
        """The new id of an old one, None (and noted in `moved`) where there is none; a negative number names no token and stays."""
        if number < 0:
            return None if key in ROLES else number
        token = self.source.tokens[number] if number < len(self.source) else None
        if token is None:
            moved.dropped[number] = "no token"
            return None
        same = self._strings.get(token.text)
        if same is not None and "special" in (token.kind, self.target[same].kind):
            return same
        if found := self._shared.get(number):
            # One token of the base may be several here (begin, end and padding): the one that the key is about, else the end token.
            wanted = next((role for role in ROLES if role in key.split("_")), "eos")
            roles = [self.target[new].roles for new in found]
            return min(zip(found, roles), key=lambda pair: (wanted not in pair[1], "eos" not in pair[1], pair[0]))[0]
        moved.dropped[number] = token.shown
        return None


def put(settings: Any, key: str, value: Any) -> bool:
    """Set an entry of a config; False where it does not take the value (some declare types), which then stays as it was."""
    from huggingface_hub.errors import StrictDataclassError

    try:
        setattr(settings, key, value)
    except StrictDataclassError:
        return False
    return True


def _stand_in(role: str, target: Vocabulary) -> int | None:
    """A special token for an entry that may not be empty."""
    order = (role, *STAND_INS.get(role, ()), *target.roles)
    return next((target.roles[other] for other in order if other in target.roles), None)


def _lacking(moved: Moved, model: PreTrainedModel) -> UnsupportedError:
    shown = ", ".join(f"{token!r} ({number})" for number, token in moved.dropped.items()) or f"{moved.old}"
    return UnsupportedError(
        f"{type(model).__name__} cannot do without {moved.where}: {shown}, which the new tokenizer lacks",
        "give a tokenizer with this token (`extend` keeps all of the base's), or the text model alone",
    )


def listed(value: Any) -> Any:
    """A value as JSON: a mapping of sequences as pairs."""
    return [[list(ids), number] for ids, number in value.items()] if isinstance(value, Mapping) else value
