"""Pruning, swapping, Unigram extension and the naive baselines."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_tokenizer_extend import save
from transformers import AutoTokenizer

import toys
from tokenizers import AddedToken, Tokenizer
from tokgraft.config.tokenizer import TokenizerRecipe
from tokgraft.errors import ConfigError, TokenizerError
from tokgraft.token_strings import vocabulary_of
from tokgraft.tokenizers import texts
from tokgraft.tokenizers.audit import changed_ids, reachability
from tokgraft.tokenizers.base import load_base, to_tokenizer
from tokgraft.tokenizers.build import build_tokenizer
from tokgraft.tokenizers.growing import folded, with_added_tokens
from tokgraft.tokenizers.metrics import identical_share
from tokgraft.tokenizers.pruning import frequencies, last_merges, removal_order

KINDS = ("byte_level", "sp_bpe", "sp_bpe_metaspace", "unigram")


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def build(base: Path, target: Path, english: Path, out: Path, **settings: Any) -> Path:
    return build_tokenizer(TokenizerRecipe(**settings), target, out, base, english)


def size(folder: Path, lines: list[str]) -> int:
    return sum(len(found.ids) for found in to_tokenizer(load_base(folder).spec).encode_batch(lines, add_special_tokens=False))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("order", ["leaf_last", "leaf_frequency"])
def test_leaves_can_go_without_harm(
    kind: str, order: str, base_folder: Callable[[str], Path], target: Path, english: Path, tmp_path: Path
) -> None:
    base = base_folder(kind)
    out = build(base, target, english, tmp_path / "out", trainer="prune", remove_tokens=150, order=order)
    old, new = vocabulary_of(load_base(base).spec), vocabulary_of(load_base(out).spec)
    assert new.keys() < old.keys() and len(new) == len(old) - 150
    assert sorted(new.values()) == list(range(len(new)))
    permutation = read(out / "ids.json")["new_to_old"]
    assert permutation == [old[token] for token in sorted(new, key=new.__getitem__)] == sorted(permutation)
    assert read(out / "audit.json")["reachability"]["unreachable"] <= read(out / "audit.json")["base"]["reachability"]["unreachable"]
    before, after = load_base(base), load_base(out)
    assert (after.prefix, after.suffix) == (before.prefix, before.suffix)
    assert AutoTokenizer.from_pretrained(out)("mäki")["input_ids"]


def test_plain_frequency_leaves_tokens_unreachable_and_says_so(
    base_folder: Callable[[str], Path], target: Path, english: Path, tmp_path: Path
) -> None:
    leaf, plain = (
        read(
            build(base_folder("byte_level"), target, english, tmp_path / order, trainer="prune", remove_tokens=200, order=order)
            / "audit.json"
        )
        for order in ("leaf_frequency", "frequency")
    )
    assert leaf["reachability"]["unreachable"] == 0 < plain["reachability"]["unreachable"]


def test_last_merges_rebuild_every_token(base_folder: Callable[[str], Path]) -> None:
    spec = folded(load_base(base_folder("byte_level")).spec)
    strings = {index: token for token, index in spec["model"]["vocab"].items()}
    special = {token["id"] for token in spec["added_tokens"]}
    found = last_merges(spec)
    merges = {tuple(merge) for merge in spec["model"]["merges"]}
    assert len(found) > 400
    for index, parts in found.items():
        if index not in special:
            assert parts is not None and (strings[parts[0]], strings[parts[1]]) in merges
            assert strings[parts[0]] + strings[parts[1]] == strings[index]


def test_a_leaf_gives_its_count_to_its_parts(base_folder: Callable[[str], Path]) -> None:
    """The order against the plain way: encode anew without the removed token and count."""
    base = load_base(base_folder("byte_level"))
    lines = ["the table of the value", "there is a value"] * 3
    counts = frequencies(base.spec, lines)
    order = list(removal_order(base.spec, base.kind, "leaf_frequency", counts))
    assert len(order) == len(set(order)) == len(last_merges(folded(base.spec))) - len(base.specials)
    used = [index for index in order if counts[index]]
    assert not any(counts[index] for index in order[:100]) and used
    derived = last_merges(folded(base.spec))
    assert all(
        order.index(index) < order.index(part)
        for index, parts in derived.items()
        if index in set(order)
        for part in parts or ()
        if part in derived
    )


def test_script_pruning_keeps_the_scripts_asked_for(english: Path, base_folder: Callable[[str], Path], tmp_path: Path) -> None:
    import toys

    folder = tmp_path / "base"
    toys.tokenizer("byte_level", 700, "both").save_pretrained(folder)
    out = build(folder, english, english, tmp_path / "out", trainer="prune", order="script", scripts=["Latn"])
    gone = set(vocabulary_of(load_base(folder).spec)) - set(vocabulary_of(load_base(out).spec))
    kind = load_base(folder).kind
    removed = [kind.canonical(token)[0].decode() for token in gone]
    assert removed and all(any("Ͱ" <= letter <= "Ͽ" or "ἀ" <= letter <= "῿" for letter in text) for text in removed)
    assert read(out / "audit.json")["round_trip"]["failed"] == 0
    with pytest.raises(TokenizerError, match="no Unicode script"):
        build(folder, english, english, tmp_path / "bad", trainer="prune", order="script", scripts=["Latein"])


@pytest.mark.parametrize("kind", KINDS)
def test_a_swap_keeps_the_size_and_the_ids_of_what_stays(
    kind: str, base_folder: Callable[[str], Path], target: Path, english: Path, tmp_path: Path
) -> None:
    base = base_folder(kind)
    out = build(base, target, english, tmp_path / "out", trainer="swap", new_tokens=128)
    old, new = vocabulary_of(load_base(base).spec), vocabulary_of(load_base(out).spec)
    assert sorted(new.values()) == sorted(old.values())
    assert len(new.keys() - old.keys()) == 128
    assert all(new[token] == old[token] for token in new.keys() & old.keys())
    ids = read(out / "ids.json")["new_to_old"]
    assert ids.count(None) == 128 and all(index is None or index == place for place, index in enumerate(ids))
    assert size(out, texts.paragraphs(target, "test")) < 0.8 * size(base, texts.paragraphs(target, "test"))


def test_prune_then_extend(base_folder: Callable[[str], Path], target: Path, english: Path, tmp_path: Path) -> None:
    base = base_folder("byte_level")
    out = build(base, target, english, tmp_path / "out", trainer="prune", remove_tokens=200, new_tokens=64)
    assert len(vocabulary_of(load_base(out).spec)) == len(vocabulary_of(load_base(base).spec)) - 136
    pair = [to_tokenizer(load_base(folder).spec) for folder in (base, out)]
    lines = texts.paragraphs(english, "test")
    strings = [[tokenizer.encode(line, add_special_tokens=False).tokens for line in lines] for tokenizer in pair]
    share = sum(left == right for left, right in zip(*strings)) / len(lines)
    assert 0 < share < 1 and read(out / "metrics.json")["english_identical"] == round(share, 6)
    assert read(out / "ids.json")["new_to_old"][-64:] == [None] * 64
    assert read(out / "audit.json")["reachability"]["unreachable"] == 0


def test_unigram_extension_keeps_ids_and_english_and_reaches_every_piece(
    base_folder: Callable[[str], Path], target: Path, english: Path, tmp_path: Path
) -> None:
    base = load_base(base_folder("unigram"))
    out = build(base_folder("unigram"), target, english, tmp_path / "out", trainer="extend", new_tokens=192)
    made = load_base(out)
    assert changed_ids(made.spec, base.spec) == []
    assert len(vocabulary_of(made.spec)) == len(vocabulary_of(base.spec)) + 192
    assert set(reachability(made.spec).unreachable) <= set(reachability(base.spec).unreachable)
    assert size(out, texts.paragraphs(target, "test")) < 0.7 * size(base.folder, texts.paragraphs(target, "test"))
    before, after = to_tokenizer(base.spec), to_tokenizer(made.spec)
    assert identical_share(before, after, texts.paragraphs(english, "test")) > 0.7
    assert not [token for token in vocabulary_of(made.spec).keys() - vocabulary_of(base.spec).keys() if "▁" in token[1:]]


@pytest.mark.parametrize("naive", ["after", "before", "splits", "added"])
def test_naive_extensions_are_counted_and_not_refused(
    naive: str, base_folder: Callable[[str], Path], target: Path, english: Path, tmp_path: Path
) -> None:
    """Merges in front and added tokens cut English otherwise, and those in front also block tokens of the base; merges behind only new ones."""
    base = base_folder("byte_level")
    out = build(base, target, english, tmp_path / "out", trainer="naive_extend", new_tokens=192, naive=naive)
    reach, share = read(out / "audit.json")["reachability"], read(out / "metrics.json")["english_identical"]
    old, blocked = vocabulary_of(load_base(base).spec).values(), reachability(load_base(out).spec).unreachable
    assert reach["unreachable"] == len(blocked)
    if naive == "added":
        assert (reach["unreachable"], reach["added"]) == (0, 192) and share < 0.7
    elif naive == "before":
        assert len({*blocked} & {*old}) > 10 and share < 0.7
    else:
        assert len(blocked) > 5 and not {*blocked} & {*old} and share > 0.8


@pytest.mark.parametrize("trainer", ["extend", "prune", "swap"])
def test_added_tokens_in_the_middle_of_the_ids_and_whole_word_matching(
    trainer: str, base_folder: Callable[[str], Path], target: Path, english: Path, tmp_path: Path
) -> None:
    """Special tokens at ids 300 and 301, a literal added token, `ignore_merges`."""
    spec = read(base_folder("byte_level") / "tokenizer.json")
    order = sorted(spec["model"]["vocab"], key=spec["model"]["vocab"].get)
    special = [token["content"] for token in spec["added_tokens"]]
    rest = [token for token in order if token not in special]
    spec["model"]["vocab"] = {token: place for place, token in enumerate([*rest[:300], *special, *rest[300:]])}
    for token in spec["added_tokens"]:
        token["id"] = spec["model"]["vocab"][token["content"]]
    spec["model"]["ignore_merges"] = True
    tokenizer = Tokenizer.from_str(json.dumps(spec))
    tokenizer.add_tokens([AddedToken("tuulik", special=False)])
    config = b'{"bos_token": "<|begin|>", "eos_token": "<|end|>"}'
    save({"tokenizer.json": tokenizer.to_str().encode(), "tokenizer_config.json": config}, tmp_path / "base")
    how = {"prune": {"remove_tokens": 100}}.get(trainer, {"new_tokens": 64})
    out = build(tmp_path / "base", target, english, tmp_path / "out", trainer=trainer, **how)
    made = load_base(out)
    assert made.spec["model"]["ignore_merges"] is True
    assert to_tokenizer(made.spec).encode("a<|end|>b").tokens == ["a", "<|end|>", "b"]
    assert "tuulik" in to_tokenizer(made.spec).encode("xtuulikx").tokens
    assert read(out / "audit.json")["reachability"]["unreachable"] == 0


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"trainer": "prune"}, ConfigError, "remove_tokens"),
        ({"trainer": "prune", "order": "script"}, ConfigError, "scripts that stay"),
        ({"trainer": "prune", "remove_tokens": 5, "vocab_size": 9}, ConfigError, "no vocab_size"),
        ({"trainer": "swap", "new_tokens": 64, "remove_tokens": 5}, ConfigError, "no remove_tokens"),
        ({"trainer": "swap", "new_tokens": 64, "order": "script"}, ConfigError, "takes as many"),
        ({"trainer": "prune", "remove_tokens": 99999}, TokenizerError, "may go"),
        ({"trainer": "naive_extend"}, ConfigError, "new_tokens"),
        ({"trainer": "extend", "new_tokens": 64, "digits": "l2r3"}, ConfigError, "no digits"),
    ],
)
def test_what_cannot_work_is_refused(
    settings: dict[str, Any], error: type[Exception], message: str, base_folder: Callable[[str], Path], target: Path, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        build_tokenizer(TokenizerRecipe(**settings), target, tmp_path / "out", base_folder("byte_level"))
    assert list(tmp_path.iterdir()) == []


def test_counts_are_of_all_texts(base_folder: Callable[[str], Path]) -> None:
    spec = load_base(base_folder("byte_level")).spec
    assert frequencies(spec, ["a b", "a"]) == Counter(to_tokenizer(spec).encode("a b").ids) + Counter(to_tokenizer(spec).encode("a").ids)


# --- ids with holes ------------------------------------------------------------------------------------------------------


def with_holes(kind: str) -> dict[str, Any]:
    """A tokenizer.json whose ids have holes, also behind what the model knows (Unigram counts its pieces, so there only behind them)."""
    spec = json.loads(toys.tokenizer(kind).backend_tokenizer.to_str())
    vocabulary = spec["model"]["vocab"]
    if isinstance(vocabulary, dict):
        spec["model"]["vocab"] = {token: number + 40 * (number > 500) for token, number in vocabulary.items()}
    else:
        spec["model"]["vocab"] = [*vocabulary, *([f"\ufdd0{number}", 0.0] for number in range(5))]
    return spec


@pytest.mark.parametrize("kind", ["byte_level", "sp_bpe", "wordpiece", "unigram"])
@pytest.mark.parametrize("special", [False, True])
def test_added_ids_follow_the_highest(kind: str, special: bool) -> None:
    spec = with_holes(kind)
    old = vocabulary_of(spec)
    names = ["<|unused_0|>", "größer", " als"]
    made = with_added_tokens(spec, names, special)
    ids = made.get_vocab()
    assert {token: ids[token] for token in old} == old, "old ids stay"
    assert [ids[name] for name in names] == list(range(max(old.values()) + 1, max(old.values()) + 4))
    assert len(set(ids.values())) == len(ids), "no id has two tokens"
    assert vocabulary_of(json.loads(made.to_str())) == ids, "the file says the same"
    assert made.encode("x" + names[0], add_special_tokens=False).ids[-1] == ids[names[0]]
    assert [token.special for token in made.get_added_tokens_decoder().values() if token.content in names] == 3 * [special]


@pytest.mark.parametrize("kind", ["byte_level", "sp_bpe"])
def test_recipes_on_a_base_with_holes(kind: str, target: Path, english: Path, tmp_path: Path) -> None:
    folder = tmp_path / "base"
    toys.tokenizer(kind).save_pretrained(folder)
    (folder / "tokenizer.json").write_text(json.dumps(with_holes(kind)))
    highest = max(vocabulary_of(with_holes(kind)).values())
    naive = build(folder, target, english, tmp_path / "naive", trainer="naive_extend", new_tokens=64, naive="added")
    ids = vocabulary_of(json.loads((naive / "tokenizer.json").read_text()))
    assert sorted(ids.values())[-64:] == list(range(highest + 1, highest + 65)) and len(set(ids.values())) == len(ids)
    padded = build(folder, target, english, tmp_path / "padded", trainer="extend", new_tokens=32, pad_to=512)
    ids = vocabulary_of(json.loads((padded / "tokenizer.json").read_text()))
    assert max(ids.values()) % 512 == 511 and len(set(ids.values())) == len(ids)
