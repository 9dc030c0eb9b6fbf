from __future__ import annotations

import pytest

from tokgraft.config.language import Splits
from tokgraft.corpus.ledger import Drops, Ledger, drop_pages, drop_paragraphs
from tokgraft.corpus.splits import assign, cap, component_facts, components, drop_boilerplate, drop_shared, facts, overlap
from tokgraft.documents import Page, Paragraph

LONG = "a paragraph that is certainly longer than sixty characters, number "
NAMES = ["one", "two", "three", "four", "five", "six"]


def page(name: str, *texts: str) -> Page:
    return Page(name, tuple(Paragraph(f"p:{number}:0", "p", text, number) for number, text in enumerate(texts)))


def test_components_join_by_rare_long_paragraphs_only() -> None:
    pages = [
        page("a", LONG + "one", "short"), page("b", LONG + "one", LONG + "two"), page("c", LONG + "two", LONG + "many"),
        page("d", "short", LONG + "many"), page("e", LONG + "many"), page("f", LONG + "own"),
    ]  # fmt: skip
    found = components(pages, 2)
    assert found == {"a": "a", "b": "a", "c": "a", "d": "d", "e": "e", "f": "f"}
    assert component_facts(found) == {"components": 4, "largest": 3}
    assert components(pages, 3)["e"] == "a"


def test_assignment_keeps_components_whole_and_is_stable() -> None:
    component_of = {f"page{number}": f"page{number - number % 3}" for number in range(3000)}
    first = assign(component_of, Splits())
    assert all(first[name] == first[root] for name, root in component_of.items())
    shares = {split: list(first.values()).count(split) / 3000 for split in ("train", "dev", "test")}
    assert 0.07 < shares["test"] < 0.13 and 0.015 < shares["dev"] < 0.045
    more = assign({**component_of, "new": "new"}, Splits())
    assert all(more[name] == split for name, split in first.items())
    assert assign(component_of, Splits(seed=1)) != first


@pytest.mark.parametrize("count", [3, 4, 7])
def test_few_components_still_fill_every_split(count: int) -> None:
    found = assign({f"p{number}": f"p{number}" for number in range(count)}, Splits())
    assert set(found.values()) == {"train", "dev", "test"}


def test_boilerplate_stays_once_per_split() -> None:
    pages = [page(name, LONG + "all", f"own {name}") for name in "abcdef"]
    split_of = dict(zip("abcdef", ["train"] * 3 + ["test"] * 3, strict=True))
    kept, drops = drop_boilerplate(pages, split_of, 2)
    assert [page.id for page in kept if len(page.paragraphs) == 2] == ["a", "d"]
    assert drops.paragraphs == {"boilerplate": 4}


def test_nothing_is_shared_between_splits_afterwards() -> None:
    sentence = "to {} the table open the menu and choose the command for it from the list that appears on the left"
    pages = [
        page("train", sentence.format("delete"), "Version 7", "only here"),
        page("test", sentence.format("remove"), "version 8", "held out text", "seen in both held"),
        page("dev", "Seen in both held", "dev text"),
    ]
    split_of = {"train": "train", "test": "test", "dev": "dev"}
    assert overlap(pages, split_of, "space")["test_in_train"] == {"exact": 1, "near": 1}
    kept, drops = drop_shared(pages, split_of, "space")
    assert drops.paragraphs == {"in_train_exact": 1, "in_train_near": 1, "in_test_exact": 1}
    assert [[paragraph.text for paragraph in page.paragraphs] for page in kept[1:]] == [
        ["held out text", "seen in both held"],
        ["dev text"],
    ]
    assert all(sum(counts.values()) == 0 for counts in overlap(kept, split_of, "space").values())


def test_cap_keeps_a_prefix_of_every_split() -> None:
    pages = [page(f"p{number}", "x" * 100, "y" * 100) for number in range(50)]
    split_of = {f"p{number}": "test" if number % 10 == 0 else "dev" if number % 10 == 1 else "train" for number in range(50)}
    kept, drops = cap(pages, split_of, 2_100)
    sizes = facts(kept, split_of)
    assert sizes["train"] == {"pages": 8, "paragraphs": 16, "bytes": 1600}
    assert sizes["dev"]["bytes"] == sizes["test"]["bytes"] == 200
    assert [page.id for page in kept if split_of[page.id] == "train"] == [f"p{n}" for n in range(50) if n % 10 > 1][:8]
    assert drops.pages == {"cap": 40}
    assert cap(pages, split_of, 10_000) == (pages, Drops())


def test_cap_cuts_a_page_rather_than_empty_a_split() -> None:
    pages = [page("a", *["x" * 100] * 30), page("b", *["y" * 100] * 3), page("c", *["z" * 100] * 3)]
    kept, drops = cap(pages, {"a": "train", "b": "dev", "c": "test"}, 1_200)
    assert [(page.id, len(page.paragraphs)) for page in kept] == [("a", 10), ("b", 1), ("c", 1)]
    assert drops.paragraphs == {"cap": 24} and not drops.pages


def test_the_ledger_adds_up_or_refuses() -> None:
    pages = [page("a", "keep", "drop"), page("b", "drop")]
    ledger = Ledger()
    ledger.open("read", pages, Drops())
    kept = ledger.step("filter", *drop_paragraphs(pages, lambda _, paragraph: "bad" if paragraph.text == "drop" else None))
    assert [page.id for page in kept] == ["a"]
    assert ledger.steps[-1]["paragraphs"] == {"in": 3, "kept": 1, "dropped": {"bad": 2}}
    assert ledger.steps[-1]["pages"] == {"in": 2, "kept": 1, "dropped": {"bad": 1}}
    assert ledger.steps[-1]["bytes"] == {"in": 12, "kept": 4, "dropped": {"bad": 8}}
    ledger.step("pages", *drop_pages(kept, lambda page: "all"))
    assert ledger.dropped() == {"filter: bad": 2, "pages: all": 1}
    with pytest.raises(AssertionError, match=r"corpus step quiet: 0 pages in, 2 kept"):
        ledger.step("quiet", pages, Drops())
