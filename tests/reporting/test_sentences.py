"""Every sentence of the page against numbers that this test computes from the samples and the table of differences by itself."""

from __future__ import annotations

import inspect
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from synthetic_cells import LEVELS, SUFFIX, UNASKED, build

from tokgraft.cells import load_cells
from tokgraft.config import layout
from tokgraft.frame import read_frame
from tokgraft.reporting import findings, leaders, verdict
from tokgraft.reporting.compare import comparisons
from tokgraft.reporting.findings import headline, limits, section_findings
from tokgraft.reporting.sections import sections
from tokgraft.reporting.tables import differences

CELLS = Path(layout.cells("demo"))
WORSE = {"smollm2-135m/none": (1.7, 1.6), "smollm2-135m/mean": (2.2, 2.0), "smollm2-135m/random": (5.7, 4.2)}
TWO = [("pocket", "deu_Latn", ["none", "random", "mean", "focus"]), ("smollm2-135m", "deu_Latn", ["none", "random", "mean"])]
SCENARIOS = {
    "mixed tasks, and one where the original wins": {"demo": TWO, "levels": WORSE, "suffixes": {"smollm2-135m": "-small"}},
    "ties": {"demo": [("pocket", "deu_Latn", ["none", "mean", "multivariate", "random"])], "levels": {"multivariate": LEVELS["mean"]}},
    "several seeds": {"demo": [("pocket", "deu_Latn", ["none", "random", "mean"])], "seeds": (0, 1, 2, 3)},
    "missing cells": {"demo": TWO, "levels": WORSE, "lost": ["smollm2-135m/deu_Latn/original", "pocket/deu_Latn/bpe8k/focus/s0/init"]},
    "few pages": {"demo": TWO, "levels": WORSE, "pages": 9},
    "few pages of one model": {"demo": TWO, "levels": WORSE, "suffixes": {"smollm2-135m": "-small"}, "pages": 18},
    "the transplant wins": {"demo": [("pocket", "deu_Latn", ["none", "mean", "focus"])], "levels": {"none": (2.4, 2.3)}},
    "originals lost": {"demo": TWO, "lost": ["pocket/deu_Latn/original", "smollm2-135m/deu_Latn/original"]},
    "the original lost before training": {"demo": TWO, "lost": ["pocket/deu_Latn/original/none/s0/init"]},
    "one transplant left": {"demo": TWO, "lost": [f"smollm2-135m/deu_Latn/bpe8k/{name}" for name in ("random",)]},
    "no transplant left": {"demo": TWO, "lost": ["smollm2-135m/deu_Latn/bpe8k"]},
    "English of one model not scored": {"demo": TWO, "unasked": {"pocket": ("bpb-english",)}},
    "English of the original and choices of a model not scored": {
        "demo": TWO, "unasked": {"pocket/none": ("bpb-english",), "smollm2-135m": ("heading", "continuation"), "pocket/mean": ("heading",)},
    },
    "the transplant wins, and one is lost": {
        "demo": [("pocket", "deu_Latn", ["none", "mean", "focus", "random"])], "levels": {"none": (2.4, 2.3)},
        "lost": ["pocket/deu_Latn/bpe8k/random/s0/pocket-demo"],
    },
    "a tie wins": {
        "demo": [("pocket", "deu_Latn", ["none", "mean", "multivariate"])], "levels": {"none": (2.4, 2.3), "multivariate": LEVELS["mean"]},
    },
    "zero-shot, and a refiner on the original": {
        "demo": [("pocket", "deu_Latn", ["none", "none+prior", "mean"])], "levels": {"none+prior": (2.1, 2.0)}, "zero_shot": True,
    },
}  # fmt: skip


class Table:
    """What an experiment says, read from files and from differences.csv; no code of the sentences is used."""

    def __init__(self, frame, places) -> None:
        self.frame, self.places = frame, places
        self.cells = json.loads(CELLS.read_text())["cells"]
        self.rows = [{name: str(value) for name, value in row.items()} for row in differences(frame, comparisons(frame)).rows]
        self.headline, self.limits = headline(places), limits(frame, places)
        self.by_place = {place.group: section_findings(place) for place in places}

    def score(self, model: str, method: str, stage: str, english: bool = False) -> float | None:
        """Mean over seeds of bits over bytes."""
        found = []
        for cell in self.cells:
            folder = cell["paths"].get(f"score_{stage}")
            if (cell["model"], cell["method"]) == (model, method) and folder and Path(folder).is_dir():
                paths = [path for path in (Path(folder) / "samples").glob("bpb*") if ("english" in path.name) is english]
                if not paths:
                    continue
                (path,) = paths
                rows = [json.loads(line) for line in path.read_text().splitlines()]
                found.append(sum(row["bits"] for row in rows) / sum(row["bytes"] for row in rows))
        return sum(found) / len(found) if found else None

    def of(self, reference: str, stage: str, english: bool = False, transplants: bool = True) -> list[dict[str, str]]:
        """Rows of differences.csv on bits per byte; their values are those of the samples."""
        kept = [
            row
            for row in self.rows
            if (row["reference"], row["stage"], row["metric"]) == (reference, stage, "bits_per_byte")
            and ("english" in row["task"]) is english
            and not (transplants and row["method"].startswith("none"))
        ]
        for row in kept:
            other = "none" if reference == "untouched" else row["method"] if reference == "own init" else reference
            at = "init" if reference in ("untouched", "own init") else stage
            ours, theirs = self.score(row["model"], row["method"], stage, english), self.score(row["model"], other, at, english)
            assert float(row["difference"]) == pytest.approx(ours - theirs, abs=2e-5)
        return kept

    def methods(self, model: str, transplants: bool = True) -> list[str]:
        """Methods that the experiment asks for."""
        found = dict.fromkeys(cell["method"] for cell in self.cells if cell["model"] == model)
        return [method for method in found if not (transplants and method.startswith("none"))]

    def partly(self, model: str, stage: str) -> str:
        """`3 of 4 transplants`, where not all were scored at a stage."""
        asked = self.methods(model)
        scored = [method for method in asked if self.score(model, method, stage) is not None]
        return "" if len(scored) == len(asked) else f"{len(scored)} of {len(asked)} transplants w"

    def unknown(self, start: str) -> str:
        """All sentences that say something is not known."""
        return " ".join(one for one in self.headline if one.startswith(start) and "not known on" in one)

    def sentence(self, start: str) -> str:
        """The one sentence of the headline that begins so; empty when none does."""
        found = [one for one in self.headline if one.startswith(start)]
        assert len(found) <= 1
        return found[0] if found else ""


@pytest.fixture(scope="module", params=SCENARIOS, ids=lambda name: name.replace(" ", "-").replace(",", ""))
def told(request, tmp_path_factory):
    settings, root = dict(SCENARIOS[request.param]), tmp_path_factory.mktemp("told")
    with pytest.MonkeyPatch.context() as patch:
        for name, pair in settings.pop("levels", {}).items():
            patch.setitem(LEVELS, name, pair)
        for name, suffix in settings.pop("suffixes", {}).items():
            patch.setitem(SUFFIX, name, suffix)
        for name, tasks in settings.pop("unasked", {}).items():
            patch.setitem(UNASKED, name, tasks)
        lost = settings.pop("lost", [])
        patch.chdir(root)
        build(root, **settings)
        for place in lost:
            shutil.rmtree(Path("results/scores") / place)
        frame = read_frame(load_cells(CELLS))
        yield Table(frame, sections(frame, comparisons(frame)))


def counted(rows: list[dict[str, str]]) -> tuple[int, int, int, int]:
    """(better, worse, unclear, too few) by the column `claim`."""
    claims = [row["claim"] for row in rows]
    return (
        *(claims.count(word) for word in ("better", "worse", "no claim: the interval includes 0")),
        sum("fewer than" in one for one in claims),
    )


def span(rows: list[dict[str, str]], name: str = "difference", form: str = "{:.2f}") -> str:
    values = sorted(abs(float(row[name])) for row in rows)
    low, high = form.format(values[0]), form.format(values[-1])
    return low if len(values) == 1 or (name == "n" and low == high) else f"{low} to {high}"


def pages(rows: list[dict[str, str]]) -> str:
    return f"{span(rows, 'n', '{:.0f}')} pages"


@pytest.mark.parametrize(("reference", "words"), [
    ("untouched", "the untouched original"), ("none", "the original vocabulary trained on the same bytes"),
])  # fmt: skip
def test_against_the_original(told, reference, words):
    zero_shot = all(place.final == "init" for place in told.places)
    rows = told.of("none" if zero_shot else reference, "init" if zero_shot else "trained")
    text = told.sentence(f"Against {words}")
    kind = "zero-shot" if zero_shot else "trained"
    if zero_shot and reference == "none":
        assert not text
        return
    compared = {row["model"] for row in rows}
    unknown = told.unknown(f"Whether {kind} transplants are better than {words}")
    assert all((place.where in unknown) == (place.group[0] not in compared) for place in told.places)
    if unknown:
        assert "the original was not scored" in unknown or "no transplant was scored" in unknown
        assert ("no transplant was scored after training" in unknown) == ("no transplant was scored" in unknown and not zero_shot)
    if not rows:
        assert not text
        return
    better, worse, unclear, few = counted(rows)
    assert re.match(rf"Against {words}, {better} of {len(rows)} {kind} transplants (is|are) better and {worse} worse", text)
    assert ("cannot be told apart" in text) == bool(unclear) and (f"; {unclear} cannot" in text) == bool(unclear)
    assert (f"; {few} compared on" in text) == bool(few)
    if enough := [row for row in rows if "fewer than" not in row["claim"]]:
        assert f"({pages(enough)}" in text
    missing = sum(len(told.methods(model)) for model in compared) - len(rows)
    assert (f"; {missing} more could not be compared" in text) == ("more could not" in text) == bool(missing)


def test_english(told):
    rows = told.of("untouched", "trained", english=True)
    text, unknown = told.sentence("English"), told.unknown("What trained transplants lose of English")
    trained = [place for place in told.places if place.final == "trained"]
    assert bool(trained) == bool(text or unknown)
    for place in trained:
        model = place.group[0]
        assert (place.where in unknown) == (model not in {row["model"] for row in rows})
        if place.where in unknown:
            lost = told.score(model, "none", "init", english=True) is None
            asked = any(told.score(model, row.method, stage, english=True) is not None for row in place.rows for stage in place.stages)
            (said,) = (one for one in told.headline if one.startswith("What trained") and place.where in one)
            reason = "the original was not scored" if lost else "no transplant was scored"
            assert (f"{reason} on English" if asked else "no model was scored on English") in said
    if not rows:
        assert not text
        return
    _, worse, _, few = counted(rows)
    lost = [row for row in rows if row["claim"] == "worse"]
    if worse:
        assert f"{worse} of {len(rows)} trained transplants need {span(lost)} more bits per byte" in text
    else:
        assert f"none of {len(rows)} trained transplants is shown to need more" in text
    assert (f"; {few} compared on" in text) == bool(few)


def test_training(told):
    rows = told.of("own init", "trained", transplants=False)
    text = told.sentence("Training")
    if not rows:
        assert not text
        return
    better, worse, _, few = counted(rows)
    gains = [row for row in rows if row["claim"] == "better"]
    assert f"in {better} of {len(rows)} combinations" in text and (not gains or f", by {span(gains)}" in text)
    assert ("raises them" in text) == bool(worse) and (f"; {few} compared on" in text) == bool(few)
    missing = sum(len(told.methods(place.group[0], transplants=False)) for place in told.places) - len(rows)
    assert (f"; {missing} more could not be compared" in text) == ("more could not" in text) == bool(missing)


def test_who_leads(told):
    for place in told.places:
        for stage in place.stages:
            scores = {row.method: told.score(place.group[0], row.method, stage) for row in place.rows if not row.method.startswith("none")}
            order = sorted((value, method) for method, value in scores.items() if value is not None)
            when = "Right after the transplant" if stage == "init" else "After training"
            said = [one for one in told.by_place[place.group] if one.startswith(f"{when}, ")]
            assert len(said) == (len(told.methods(place.group[0])) > 1)
            if not said:
                continue
            (text,) = said
            partly = told.partly(place.group[0], stage)
            assert partly in text and ("transplants w" in text) == bool(partly)
            if partly:
                assert re.search(
                    rf"{re.escape(partly)}\w+ scored on {re.escape(place.where)}|no claim on {re.escape(place.where)}: {partly}",
                    told.sentence(f"{when}:"),
                )
            if len(order) < 2:
                assert "no order can be claimed" in text
                continue
            best, second = order[0], order[1]
            few = (
                min(
                    int(row["n"])
                    for row in told.rows
                    if row["model"] == place.group[0] and row["metric"] == "bits_per_byte" and "english" not in row["task"]
                )
                < 10
            )
            if few:
                assert "no order is claimed" in text and "fewest" not in text and re.search(r"on \d+ pages", text)
                assert f"no claim on {place.where}" in told.sentence(f"{when}:")
                continue
            assert f"{best[1]} has the fewest bits per byte of the transplants" in text and "pages" in text
            if "cannot be told apart" not in text:
                size = re.search(r"transplants: ([0-9.]+) \[", text)
                assert size and float(size[1]) == pytest.approx(second[0] - best[0], abs=0.006) and f"the next, {second[1]}" in text
                assert f"{best[1]} has the fewest bits per byte" in told.sentence(f"{when}:")
            else:
                assert second[0] - best[0] < 0.06 and f"no single best on {place.where}" in told.sentence(f"{when}:")


def test_keep_the_original_where_it_wins_and_what_is_offered(told):
    kept = []
    for place in told.places:
        model, advice = place.group[0], verdict.verdict(place)
        assert advice.sentence in told.by_place[place.group]
        partly = told.partly(model, place.final)
        assert partly in advice.sentence or not place.best
        if place.best is None:
            assert advice.sentence.startswith("No model is recommended: no transplant was scored") and not advice.folder
            continue
        mine = [row for row in told.rows if row["model"] == model and row["metric"] == "bits_per_byte" and row["stage"] == place.final]
        mine = [row for row in mine if row["method"] == place.best.method and row["task"] == place.task]
        claims = {row["reference"]: row["claim"] for row in mine if row["reference"] in ("none", "untouched")}
        if not claims:
            assert "not known" in advice.sentence
        elif any("fewer than" in claim for claim in claims.values()):
            assert "No model is recommended" in advice.sentence and not advice.folder and "pages" in advice.sentence
        elif "worse" in claims.values() or claims.get("untouched", claims.get("none")) != "better":
            assert advice.sentence.startswith("Keep the original") and "/original/none/" in advice.folder and "pages" in advice.sentence
            kept.append((place.where, partly))
            given = re.search(r"needs ([0-9.]+) \[", advice.sentence)
            stage = "trained" if "trained on the same bytes" in advice.sentence else "init"
            assert given and float(given[1]) == pytest.approx(
                told.score(model, place.best.method, place.final) - told.score(model, "none", stage), abs=0.006
            )
            assert Path(advice.folder).name == ("init" if stage == "init" else place.group[2])
        else:
            assert f"/{place.best.method}/" in advice.folder
            stands(told, place, advice.sentence)
            for reference, words in (("untouched" if place.final == "trained" else "none", "the untouched original"),
                                     ("none", "the original vocabulary trained on the same bytes")):  # fmt: skip
                assert (f"is better than {words}" in advice.sentence) == (
                    claims.get(reference) == "better" and (words != verdict.TRAINED_ALIKE or place.final == "trained")
                )
                assert (f"was not compared with {words}" in advice.sentence) == (reference not in claims)
    said = " ".join(one for one in told.headline if one.startswith("Keep"))
    assert all(where in said and partly in said for where, partly in kept) and bool(said) == bool(kept)


def stands(told, place, text) -> None:
    """Whether the sentence says how the best transplant stands to the others, and on how many pages."""
    model = place.group[0]
    scores = {method: told.score(model, method, place.final) for method in told.methods(model)}
    order = sorted((value, method) for method, value in scores.items() if value is not None)
    if len(order) == 1:
        assert "is the only transplant" in text or "was compared with no other transplant" in text
        return
    n = {
        row["n"]
        for row in told.rows
        if row["model"] == model and row["stage"] == place.final and row["metric"] == "bits_per_byte" and "english" not in row["task"]
    }
    assert f"({'/'.join(n)} pages" in text
    if found := re.match(r"Of the transplants (\S+) leads, ([0-9.]+) \[[^]]*\] bits per byte before the next, (\S+) \(", text):
        assert (found[1], found[3]) == (order[0][1], order[1][1])
        assert float(found[2]) == pytest.approx(order[1][0] - order[0][0], abs=0.006)
    else:
        found = re.match(r"Of the transplants (\S+) has the fewest bits per byte, but cannot be told apart from (\S+) \(", text)
        assert (found[1], found[2]) == (order[0][1], order[1][1]) and order[1][0] - order[0][0] < 0.06


def test_best_against_the_original_in_its_place(told):
    for place in told.places:
        for text in told.by_place[place.group]:
            if found := re.match(r".* (\S+) is (better|worse) than (.*) by ([0-9.]+) \[.*\((\d+) pages", text):
                method, claim, words, size, n = found.groups()
                reference = "untouched" if words == "the untouched original" and place.final == "trained" else "none"
                (row,) = (row for row in told.of(reference, place.final) if (row["model"], row["method"]) == (place.group[0], method))
                assert (row["claim"], row["n"]) == (claim, n) and float(size) == pytest.approx(abs(float(row["difference"])), abs=0.006)


def test_limits_and_choices(told):
    text = " ".join(told.limits)
    rows = [row for row in told.rows if row["metric"] == "bits_per_byte"]
    own, english = ([row for row in rows if ("english" in row["task"]) is wanted] for wanted in (False, True))
    of_english = f" (English: {span(english, 'n', '{:.0f}')})" if english else ""
    assert f"measured on {span(own, 'n', '{:.0f}')} held-out pages{of_english}; on fewer" in text
    seeds = {cell["seed"] for cell in told.cells}
    assert ("One seed a cell" in text) == (len(seeds) == 1) and (f"{len(seeds)} seeds a method" in text) == (len(seeds) > 1)
    at = told.places[0].final
    said = " ".join(one for one in told.headline if "hoice task" in one)
    found = re.search(r"(\d+) of (\d+) scores (after training|right after the transplant)", said)
    folders = {(cell["model"], cell["method"], cell["paths"].get(f"score_{at}")) for cell in told.cells}
    scored = {(model, method, path.name) for model, method, folder in folders for path in (Path(folder) / "samples").glob("[hc]*")}
    tasks = {(model, name) for model, _, name in scored}
    asked = sum(len(told.methods(model, transplants=False)) for model, _ in tasks)
    assert found and (int(found[2]), found[3]) == (len(scored), "after training" if at == "trained" else "right after the transplant")
    assert (f"; {asked - len(scored)} more" in said) == (asked > len(scored))
    for place in told.places:
        none = place.group[0] not in {model for model, _ in tasks}
        assert (f"No choice task was scored on {place.where}" in said) == none


def above_chance(path: Path) -> bool | None:
    """Whether accuracy lies above a quarter, by a bootstrap over pages that is no code of the report; None where that is close."""
    rng, rows = np.random.default_rng(0), [json.loads(line) for line in path.read_text().splitlines()]
    by_page: dict[str, list[int]] = {}
    for row in rows:
        by_page.setdefault(row["page"], []).append(row["acc_bytes"])
    right, items = (np.array([count(answers) for answers in by_page.values()]) for count in (sum, len))
    drawn = rng.multinomial(len(right), np.full(len(right), 1 / len(right)), size=2000)
    low = np.quantile((drawn @ right) / (drawn @ items), [0.005, 0.1])
    return True if low[0] > 0.25 else False if low[1] < 0.25 else None


def test_choices_count_pages(told):
    """Items of one page are one piece of evidence: the number of pages stands in the sentence, and ten are the minimum."""
    at = told.places[0].final
    paths = [path for cell in told.cells for path in (Path(cell["paths"][f"score_{at}"]) / "samples").glob("[hc]*")]
    size = {path: (len(rows := path.read_text().splitlines()), len({json.loads(row)["page"] for row in rows})) for path in paths}
    said = " ".join(one for one in told.headline if "hoice task" in one)
    items, pages_ = ({pair[index] for pair in size.values()} for index in (0, 1))
    assert f"{min(items)} items on {min(pages_)} pages each" in said
    if min(pages_) < 10:
        assert f"{min(pages_)} pages, and nothing is claimed on fewer than 10" in said and "0 of" in said
    elif {cell["seed"] for cell in told.cells} == {0}:
        clear = [above_chance(path) for path in paths]
        above = int(re.search(r"(\d+) of \d+ scores", said)[1])
        assert clear.count(True) <= above <= len(clear) - clear.count(False)
    rows = [row for row in told.rows if row["metric"] == "acc_bytes" and row["stage"] == at]
    assert {(row["n"], row["unit"]) for row in rows} <= {(str(n), "page") for n in pages_}


def test_tokens(told):
    text = told.sentence("Tokens for the same text")
    expected = 1 - 0.31 / 0.52  # of the invented tokenizers
    known = [place for place in told.places if place.control in place.scored and any(row in place.scored for row in place.transplants)]
    assert text.count(f"{expected:.0%} fewer") == len(known) and all(place.language in text for place in known)
    unknown = told.unknown("How many tokens the new vocabulary needs")
    assert all((f"({place.model}, bpe8k)" in unknown) == (place not in known) for place in told.places)
    said = [one for one in told.headline if one.startswith("How many tokens the new vocabulary needs")]
    for place in (place for place in told.places if place not in known):
        (reason,) = (one.rpartition(": ")[2] for one in said if f"({place.model}, bpe8k)" in one)
        original = place.control in place.scored
        assert reason == ("no transplant was scored." if original else "the original was not scored.")


def test_every_function_that_makes_a_sentence_is_known_here():
    """A new sentence needs a test above."""
    made = {
        f"{module.__name__.rpartition('.')[2]}.{name}"
        for module in (findings, leaders, verdict)
        for name, function in vars(module).items()
        if inspect.isfunction(function) and function.__module__ == module.__name__ and not name.startswith("_")
    }
    assert made == {
        "leaders.leaders", "findings.headline", "findings.section_findings", "findings.lacking", "findings.unknown", "findings.versus", "findings.leading", "findings.winners",
        "findings.tally", "findings.sizes", "findings.training", "findings.against_original", "findings.forgetting",
        "findings.tokens", "findings.choices", "findings.limits", "verdict.verdict", "verdict.scored", "verdict.kept",
    }  # fmt: skip
