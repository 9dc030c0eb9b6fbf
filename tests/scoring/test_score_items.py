"""What the builders make of held-out pages: rules, order, sizes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from tokgraft.cli.score import _of_language
from tokgraft.config.base import slugs
from tokgraft.config.language import Language
from tokgraft.config.task import Task
from tokgraft.errors import ArtifactError
from tokgraft.scoring.heldout import Held, Page, Paragraph, module_of, neighbours, read_held
from tokgraft.scoring.run import find_template, find_templates
from tokgraft.scoring.tasks import TASKS, SkipTask, _choices
from tokgraft.scoring.tasks.bits_per_byte import cut_text

CHOICES = ["heading", "continuation", "translation"]


def build(name: str, held: Held, **settings: object) -> list[dict]:
    return TASKS.get(name).build(Task(builder=name, **settings), held).documents


def test_documents_hold_every_word_once_and_fit(german: Path) -> None:
    held = read_held(german)
    documents = build("bits_per_byte", held, max_items=10_000, item_bytes=160)
    assert max(len(document["text"].encode()) for document in documents) <= 160
    for page in held.pages:
        mine = sorted((int(document["id"].split("#")[1]), document["text"]) for document in documents if document["page"] == page.id)
        whole = " ".join(text for _, text in mine)
        assert whole.split() == " ".join(paragraph.text for paragraph in page.paragraphs).split()


def test_text_without_spaces_is_cut_between_characters() -> None:
    text = "ภาษาไทยไม่มีช่องว่าง" * 9
    pieces = list(cut_text(text, 100))
    assert "".join(pieces) == text and max(len(piece.encode()) for piece in pieces) <= 100
    assert min(len(piece.encode()) for piece in pieces[:-1]) > 97
    assert list(cut_text("  eins zwei  drei ", 9)) == ["eins zwei", "drei"]


def test_a_small_task_is_the_beginning_of_a_large_one(german: Path) -> None:
    held = read_held(german)
    large, small = build("bits_per_byte", held, max_items=10_000), build("bits_per_byte", held, max_items=10_000, max_bytes=5_000)
    assert small == large[: len(small)] and 1 < len(small) < len(large)
    assert 4_000 < sum(len(document["text"].encode()) for document in small) <= 5_000
    for name in CHOICES:
        assert build(name, held, max_items=9) == build(name, held, max_items=20)[:9]


@pytest.mark.parametrize("name", CHOICES)
def test_choices_follow_the_rules(name: str, german: Path) -> None:
    held = read_held(german)
    band = 0.2 if name == "translation" else 0.15
    documents = build(name, held, max_items=100)
    assert len({document["id"] for document in documents}) == len(documents) >= 15
    for document in documents:
        gold = document["choices"][document["label"]]
        assert len({choice.casefold() for choice in document["choices"]}) == 4
        assert document["sources"][document["label"]] == document["id"]
        assert gold.casefold() not in document["context"].casefold()
        for choice, source in zip(document["choices"], document["sources"], strict=True):
            assert abs(len(choice.encode()) - len(gold.encode())) <= max(band * len(gold.encode()), 2)
            assert module_of(source) == module_of(document["page"])
            if source != document["id"]:
                assert choice not in gold and gold not in choice
                assert name == "translation" or not source.startswith(document["page"] + "/")
        shared = [_choices.overlap(choice, document["context"]) for choice in document["choices"]]
        assert (
            shared[document["label"]] - max(value for at, value in enumerate(shared) if at != document["label"]) <= _choices.MARGIN + 0.05
        )
    assert {document["label"] for document in documents} == {0, 1, 2, 3}


def test_heading_and_paragraph_must_have_stood_together() -> None:
    paragraphs = tuple(Paragraph(f"p:{at}", "p", "x", at) for at in (0, 1, 3, 4))
    assert [(first.at, second.at) for first, second in neighbours(Page("a", paragraphs))] == [(0, 1), (3, 4)]
    unknown = tuple(Paragraph(f"p:{at}", "p", "x") for at in (0, 1, 3))
    assert len(list(neighbours(Page("a", unknown)))) == len(list(pairwise(unknown)))


def test_copies_and_overlap_are_dropped_and_counted() -> None:
    def page(name: str, heading: str, text: str) -> Page:
        return Page(f"m/{name}", (Paragraph(f"h1:{name}", "h1", heading), Paragraph(f"p:{name}", "p", text)))

    rest = [
        page(f"r{number}", f"Thema {chr(97 + number) * 9}", f"Etwas ganz und gar anderes steht hier auf Seite {number}.")
        for number in range(6)
    ]
    copied = page("copy", "Inhalt sehen", "Hier kann man den Inhalt sehen, wenn man lange genug danach sucht.")
    easy = page("easy", "Rahmenlinien", "Die Linien eines Rahmens, also Rahmenlinie für Rahmenlinie, stellen Sie hier ein, wenn nötig.")
    items = TASKS.get("heading").build(Task(builder="heading"), Held("x", "X", (*rest, copied, easy)))
    assert items.dropped["right answer stands in the context"] == 1
    assert items.dropped["solvable by overlap"] + items.dropped["right answer is nearly a copy"] >= 1
    assert {"m/copy", "m/easy"}.isdisjoint(document["page"] for document in items.documents)
    with pytest.raises(SkipTask, match=r"no item passes.*too few wrong answers"):
        TASKS.get("heading").build(Task(builder="heading"), Held("x", "X", tuple(rest[:2])))


def test_baselines_by_hand() -> None:
    documents = [
        {"context": "abcdefgh", "choices": ["abcdef", "zz", "yyy", "xxxx"], "label": 0},  # longest, and most overlap
        {"context": "abcdefgh", "choices": ["zz", "abcdef", "yy", "xxxx"], "label": 0},  # one of two shortest
    ]
    assert _choices.baselines(documents) == {"length": 0.5, "overlap": 0.5}


def test_hub_names_come_from_the_task_else_from_the_language(german: Path) -> None:
    held = read_held(german)
    for given, wanted in (([], ("xnli_de", "paws_de")), (["arc_de"], ("arc_de",))):
        task = Task(builder="hub", names=given).of_language("deu_Latn", ["xnli_de", "paws_de"])
        assert TASKS.get("hub").build(task, held).names == wanted
    assert Task(builder="heading").of_language("deu_Latn", ["xnli_de"]) == Task(builder="heading")
    with pytest.raises(SkipTask, match="names a harness task"):
        TASKS.get("hub").build(Task(builder="hub"), held)


def test_the_language_file_of_a_corpus_names_harness_tasks(german: Path) -> None:
    """A corpus does not hold them: it would be made again when they change."""
    root = Path(__file__).parents[2] / "config"
    wanted = Language.load("deu_Latn", root).hub_tasks
    assert wanted and _of_language(Task(builder="hub"), german, root).names == wanted
    assert _of_language(Task(builder="hub", names=["arc_de"]), german, root).names == ["arc_de"]
    assert _of_language(Task(builder="hub"), german, root / "tasks").names == []


def test_items_do_not_depend_on_the_hash_seed(german: Path) -> None:
    program = (
        "import hashlib, json, sys; from pathlib import Path; from tokgraft.config.task import Task\n"
        "from tokgraft.scoring.heldout import read_held; from tokgraft.scoring.tasks import TASKS\n"
        "held = read_held(Path(sys.argv[1]))\n"
        "print([hashlib.sha256(json.dumps(TASKS.get(n).build(Task(builder=n), held).documents).encode()).hexdigest()"
        " for n in ('bits_per_byte', 'heading', 'continuation', 'translation')])"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program, str(german)], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(outputs) == 1


def test_building_items_imports_no_heavy_library(german: Path) -> None:
    program = (
        "import sys; from tokgraft.scoring.tasks import TASKS; TASKS.names(); import tokgraft.scoring.run, tokgraft.cli.score\n"
        "assert not {'torch', 'transformers', 'datasets', 'lm_eval'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_every_task_file_has_its_builder_and_template() -> None:
    root = Path(__file__).parents[2] / "config"
    names = slugs("tasks", root)
    assert {"bpb", "bpb-english", "heading", "continuation", "translation", "hub"} <= set(names)
    for name in names:
        task = Task.load(name, root)
        builder = TASKS.get(task.builder)
        path = find_template(task.template or builder.template, find_templates(root / "lm_eval"), name)
        assert (path is None) == builder.online


def test_a_damaged_corpus_is_named(german: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(german, tmp_path / "broken")
    (tmp_path / "broken" / "test.jsonl").write_text(json.dumps({"id": "a"})[:-2])
    with pytest.raises(ArtifactError, match=r"test\.jsonl: 9 bytes, the manifest says"):
        read_held(tmp_path / "broken")
