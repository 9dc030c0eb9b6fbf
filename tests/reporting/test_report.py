from __future__ import annotations

import csv
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from synthetic_cells import LEVELS, build

from tokgraft import artifacts
from tokgraft.cells import load_cells
from tokgraft.reporting import page
from tokgraft.reporting.build import build_report
from tokgraft.reporting.checks import check_products
from tokgraft.reporting.style import spread

CELLS, OUT = Path("results/experiments/demo/cells.json"), Path("results/experiments/demo/tables")


@pytest.fixture(scope="module")
def tables(finished):
    """The tables artifact of the invented experiment."""
    before = Path.cwd()
    os.chdir(finished)
    try:
        build_report(load_cells(CELLS), OUT)
    finally:
        os.chdir(before)
    return finished / OUT


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle))


def test_the_leaderboard_has_every_cell_at_every_stage_and_no_empty_entry(tables):
    found = rows(tables / "leaderboard.csv")
    assert len(found) == 26
    assert all(value.strip() for row in found for value in row.values())
    row = next(r for r in found if (r["model"], r["language"], r["method"], r["stage"]) == ("pocket", "deu_Latn", "mean", "trained"))
    assert float(row["bits_per_byte_low"]) < float(row["bits_per_byte"]) < float(row["bits_per_byte_high"])
    assert float(row["bits_per_byte"]) == pytest.approx(LEVELS["mean"][1], abs=0.15)
    assert (row["training_bytes"], row["vocabulary"], row["heading_n"], row["heading_items"], row["heading_chance"]) == (
        "300000", "8192", "40", "80", "0.25",
    )  # fmt: skip
    assert float(row["training_flops"]) > 0
    assert [row[f"share_{kind}"] for kind in ("copied", "made", "fallback", "random")] == ["0.244507", "0.753174", "0.00231934", "0"]
    assert row["model_hash"] == artifacts.fingerprint(tables.parents[2] / "models/pocket/deu_Latn/bpe8k/mean/s0/pocket-demo")
    assert row["score_manifest"] == artifacts.fingerprint(tables.parents[2] / "scores/pocket/deu_Latn/bpe8k/mean/s0/pocket-demo")


def test_the_same_scores_give_the_same_hashed_bytes(tables, finished, tmp_path):
    """Another process, another hash seed: only what is declared volatile may differ."""
    code = f"from pathlib import Path; from tokgraft.cells import load_cells; from tokgraft.reporting.build import build_report\nbuild_report(load_cells(Path('{CELLS}')), Path('{tmp_path}/again'))"
    subprocess.run([sys.executable, "-c", code], cwd=finished, check=True, env={**os.environ, "PYTHONHASHSEED": "7"}, capture_output=True)
    assert artifacts.fingerprint(tmp_path / "again") == artifacts.fingerprint(tables)
    manifest = artifacts.read(tables)
    assert not artifacts.VOLATILE["tables"] & set(manifest["files"])
    hashed = {"leaderboard.csv", "ranking.csv", "scores.csv", "differences.csv", "tokenizers.csv", "curves.csv", "provenance.json"}
    assert hashed <= set(manifest["files"])
    for name in hashed - {"provenance.json"}:
        assert not any("second" in column for column in rows(tables / name)[0]), name
    assert "command" not in (tables / "provenance.json").read_text()


@pytest.mark.parametrize("name", ["leaderboard.csv", "ranking.csv", "provenance.json", "differences.csv"])
def test_verify_sees_an_altered_table(tables, tmp_path, name):
    copy = Path(shutil.copytree(tables, tmp_path / "copy"))
    assert artifacts.verify(copy) == []
    text = (copy / name).read_text()
    (copy / name).write_text(text.replace("1", "2", 1))
    assert [problem for problem in artifacts.verify(copy) if name in problem]


def test_another_machine_changes_no_hash_of_the_tables(tables, own_project):
    """Other seconds, speeds and commands, the same scores: the manifest is the same, the files of seconds and speeds are not."""
    changed = 0
    for path in Path("results").rglob("*.json"):
        data = json.loads(path.read_text()) if path.name in {"timing.json", "speed.json", "run.json"} else None
        if data is not None:
            changed += 1
            for key in ("rows", "model", "processor", "wall_seconds"):
                data |= {key: data[key] * 3} if isinstance(data.get(key), int | float) else {}
            data |= {"command": "tokgraft elsewhere", "python": "3.99"} if path.name == "run.json" else {}
            data.pop("record", None)  # what run.json says of these files holds for the machine before
            for repeat in data.get("repeats", ()):
                repeat["after"]["generation"]["seconds"] *= 3
            path.write_text(json.dumps(data))
    shutil.rmtree(OUT)  # its run.json no longer says that it is ours
    build_report(load_cells(CELLS), OUT)
    assert changed > 100 and artifacts.fingerprint(OUT) == artifacts.fingerprint(tables)
    for name in ("measured.csv", "speed.csv", "runs.json"):
        assert (OUT / name).read_bytes() != (tables / name).read_bytes()


def test_what_depends_on_the_machine_stands_in_one_table(tables):
    found = rows(tables / "measured.csv")
    assert len(found) == 26 and all(value.strip() for row in found for value in row.values())
    row = next(r for r in found if (r["model"], r["language"], r["method"], r["stage"]) == ("pocket", "deu_Latn", "mean", "trained"))
    times = ("transplant_seconds", "transplant_cpu_seconds", "resource_seconds", "resource_cpu_seconds")
    assert [row[name] for name in times] == ["2", "1.2", "40", "33"]
    assert float(row["training_seconds"]) >= 0


def test_zero_shot_cells_are_ranked_by_what_they_score_untrained(tmp_path, monkeypatch):
    build(tmp_path, zero_shot=True)
    monkeypatch.chdir(tmp_path)
    build_report(load_cells(CELLS), OUT)
    found = rows(OUT / "leaderboard.csv")
    assert len(found) == 13 and {row["stage"] for row in found} == {"init"} and {row["recipe"] for row in found} == {"init"}
    page = (OUT / "report.html").read_text()
    assert "bits/byte, trained" not in page and "training FLOPs" not in page and "zero-shot transplants" in page
    assert "Right after the transplant, focus has the fewest" in page and "right after the transplant focus is worse" not in page
    assert 'from_pretrained("results/models/pocket/deu_Latn/original/none/s0/init")' in page and "Keep the original" in page
    assert check_products(load_cells(CELLS)) == []


def test_scores_and_tokenizers_alone_give_the_same_tables(tables, own_project):
    for kind in ("models", "corpora"):
        shutil.rmtree(own_project / "results" / kind)
    build_report(load_cells(CELLS), OUT)
    for name in ("leaderboard.csv", "ranking.csv", "scores.csv", "differences.csv", "tokenizers.csv", "curves.csv"):
        assert (OUT / name).read_bytes() == (tables / name).read_bytes(), name
    # Provenance, too: which model, corpus and base a number stands on, by hash, and how the models were made.
    ours, whole = (
        {one["folder"]: one for one in json.loads((place / "provenance.json").read_text())["artifacts"]} for place in (OUT, tables)
    )
    assert {folder: one["manifest"] for folder, one in ours.items()} == {folder: one["manifest"] for folder, one in whole.items()}
    trained = "results/models/pocket/deu_Latn/bpe8k/mean/s0/pocket-demo"
    assert ours[trained] == whole[trained] and ours[trained]["versions"]
    (run,) = [one for one in json.loads((OUT / "runs.json").read_text())["artifacts"] if one["folder"] == trained]
    assert run["command"] and run["python"]


def test_every_number_traces_to_a_manifest(tables):
    provenance = json.loads((tables / "provenance.json").read_text())
    known = {one["folder"]: one["manifest"] for one in provenance["artifacts"]}
    assert len(provenance["numbers"]) > 500
    for number in provenance["numbers"]:
        assert number["artifacts"], number
        assert all(folder in known for folder in number["artifacts"])
    root = tables.parents[3]
    for folder, manifest in known.items():
        assert artifacts.fingerprint(root / folder) == manifest


def test_every_entry_of_the_leaderboard_leads_to_an_artifact_that_verifies(tables):
    """From the file that people read, not from what the provenance happens to list: no number may be missing there."""
    provenance = json.loads((tables / "provenance.json").read_text())
    known = {one["folder"]: one for one in provenance["artifacts"]}
    sources = {(one["table"], one["row"], one["column"]): one for one in provenance["numbers"]}
    runs = {one["folder"]: one for one in json.loads((tables / "runs.json").read_text())["artifacts"]}
    names = ("model", "language", "tokenizer", "method", "recipe", "seed", "stage")
    reached, numbers = set(), 0
    for row in rows(tables / "leaderboard.csv"):
        key = "|".join(row[name] for name in names)
        for column, value in row.items():
            if column in names or not re.fullmatch(r"[-+]?[0-9.]+(e[-+]?[0-9]+)?", value):
                continue
            source = sources["leaderboard.csv", key, column]
            assert source["value"] == value and source["artifacts"]
            reached.update(source["artifacts"])
            numbers += 1
    assert numbers > 400 and len(reached) > 26
    for folder in reached:
        one = known[folder]
        place = tables.parents[3] / folder
        assert artifacts.fingerprint(place) == one["manifest"] and not artifacts.verify(place), folder
        assert one["versions"]["tokgraft"] and runs[folder]["python"] and runs[folder]["command"], folder


class Numbers(HTMLParser):
    """(text, source) of every table entry of the page that can be sorted as a number."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if tag == "td" and re.fullmatch(r"[-+]?[0-9.]+(e[-+]?[0-9]+)?", values.get("data-s") or ""):
            self.found.append((values["data-s"], values.get("title") or ""))


def test_every_number_of_the_page_names_artifacts_that_verify(tables):
    page = Numbers()
    text = (tables / "report.html").read_text()
    page.feed(text)
    assert len(page.found) > 150
    named = set()
    for value, source in page.found:
        places = re.findall(r"(results/[^\s;]+) · manifest ([0-9a-f]{12})", source)
        assert places, f"{value} does not say where it comes from: {source!r}"
        named.update(places)
        if "p = " in source:
            assert len(places) >= 2, "a difference has two sides"
    for folder, manifest in named:
        place = tables.parents[3] / folder
        assert artifacts.fingerprint(place).startswith(manifest) and not artifacts.verify(place)
        assert f"<code>{folder}</code>" in text, "the table of artifacts has its versions and command"
    assert re.search(r"tokgraft [0-9.]+[^<]*python 3", text)


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.outside: list[str] = []
        self.ids: list[str] = []
        self.titles = 0

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if tag in {"script", "link", "img", "iframe"} and (values.get("src") or values.get("href")):
            self.outside.append(tag)
        self.ids += [values["id"]] if values.get("id") else []
        self.titles += "title" in values and tag == "td"


def test_the_page_is_one_file_with_figures_and_provenance(tables):
    text = (tables / "report.html").read_text()
    page = Page()
    page.feed(text)
    assert not page.outside
    assert not re.search(r"url\(\s*['\"]?https?:|@import", text)
    assert len(page.ids) == len(set(page.ids)), "figures share ids"
    assert text.count("<svg") == len(list((tables / "figures").glob("*.svg"))) == len(list((tables / "figures").glob("*.png")))
    assert page.titles > 100
    assert "prefers-color-scheme: dark" in text and 'name="viewport"' in text
    assert "untouched original" in text and "uniform baseline" in text and "flat guess" not in text
    assert "#0072b2" not in text.split("</style>")[1], "a colour of the light palette is fixed in a figure"
    assert "results/scores/pocket/deu_Latn/bpe8k/focus/s0/init" in text


def test_every_part_of_a_chain_leads_to_its_page_from_where_the_report_lies(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("docs/methods").mkdir(parents=True)
    for name in ("mean", "prior"):
        Path(f"docs/methods/{name}.md").write_text(name)
    row = ("mean+prior+unknown", "mean+prior+unknown · bpe8k")
    parts = page._parts(*row, OUT)
    assert [text for text, _ in parts] == ["mean", "+prior", "+unknown", " · bpe8k"] and [link for _, link in parts][2:] == ["", ""]
    assert [(OUT / link).resolve() for _, link in parts[:2]] == [tmp_path / "docs/methods" / f"{name}.md" for name in ("mean", "prior")]
    outside = [link for _, link in page._parts(*row, tmp_path.parent / "elsewhere")]
    assert outside == [""] * 4, "a path of this machine would travel with the file"


def test_the_page_says_where_the_rows_come_from(tables):
    text = (tables / "report.html").read_text()
    assert (
        "focus, mean and multivariate copy the same 24% of the tokens of bpe8k, so what separates them is how the other rows are made"
        in text
    )
    assert "focus samples the row at random for 15% of the tokens" in text and "random samples" not in text
    assert "combined 75%" in text and "combined 49%, mapped 12%" in text


def test_a_wide_table_says_so_and_can_be_reached_by_keys(tables):
    text = (tables / "report.html").read_text()
    wide = re.findall(r'<div class="scroll" role="region" aria-label="([^"]+)" tabindex="0"><table', text)
    assert len(wide) == len(set(wide)) == text.count("<table") == 3 * 2 + 1 + 1
    assert "columns out of sight" in text and text.count('<p class="more" hidden>') == 3 * 2 + 1
    assert text.count("What the columns mean") == 3 * 2 + 1  # headings explain themselves without a pointer, too
    head, *body = re.findall(r"<tr>.*?</tr>", re.search(r"<h3 class=\"over\">Scores.*?</table>", text, re.DOTALL).group(0), re.DOTALL)
    assert all(len(re.findall("<t[dh][ >]", row)) == len(re.findall("<th[ >]", head)) for row in body)


def test_skipped_and_unfinished_cells_stand_in_the_table_with_their_reason(own_project):
    import shutil

    listing = json.loads(CELLS.read_text())
    listing["cells"][1]["reason"] = "the corpus is too small for the vocabulary"
    CELLS.write_text(json.dumps(listing))
    shutil.rmtree(listing["cells"][2]["paths"]["score_trained"])
    build_report(load_cells(CELLS), OUT)
    found = rows(OUT / "leaderboard.csv")
    assert len(found) == 26
    skipped = [row for row in found if "too small for the vocabulary" in row["status"]]
    assert len(skipped) == 2 and skipped[0]["bits_per_byte"].startswith("n/a: skipped: the corpus")
    (unfinished,) = [row for row in found if row["status"].startswith("not scored")]
    assert (unfinished["method"], unfinished["stage"]) == ("mean", "trained")
    page = (OUT / "report.html").read_text()
    assert "too small for the vocabulary" in page and "Without a score" in page


def test_a_chain_stands_after_its_plain_initialiser(tmp_path, monkeypatch):
    monkeypatch.setitem(LEVELS, "mean+prior", (3.0, 1.98))
    monkeypatch.chdir(tmp_path)
    build(tmp_path, [("pocket", "deu_Latn", ["mean+prior", "none", "random", "mean"])])
    build_report(load_cells(CELLS), OUT)
    found = [row for row in rows(OUT / "leaderboard.csv") if row["stage"] == "init"]
    assert [row["method"] for row in found] == ["none", "random", "mean", "mean+prior"]
    assert found[3]["plain_initialiser"] == "mean" and found[3]["plain_bits_per_byte"] == found[2]["bits_per_byte"]
    assert found[2]["plain_bits_per_byte"] == "n/a: not a chain"


def test_the_ranking_puts_zero_shot_and_trained_models_in_one_order(tmp_path, monkeypatch):
    for method, levels in {"mean+prior": (2.2, 2.1), "none+prior": (2.3, 1.8)}.items():
        monkeypatch.setitem(LEVELS, method, levels)
    monkeypatch.chdir(tmp_path)
    build(tmp_path, [("pocket", "deu_Latn", ["none", "none+prior", "random", "mean", "mean+prior"])])
    build_report(load_cells(CELLS), OUT)
    found = rows(OUT / "ranking.csv")
    bits = [float(row["bits_per_byte"]) for row in found]
    assert bits == sorted(bits) and [int(row["rank"]) for row in found] == list(range(1, 11))
    assert found[0]["method"] == "none+prior" and found[0]["stage"] == "trained" and found[0]["behind_first"] == "n/a: the first"
    (last,) = [row for row in found if row["method"] == "random" and row["stage"] == "init"]
    assert float(last["behind_first"]) == pytest.approx(float(last["bits_per_byte"]) - bits[0], abs=1e-5)
    assert float(last["behind_first_low"]) < float(last["behind_first"]) < float(last["behind_first_high"])
    assert last["minus_original"] == last["behind_first"]  # the first keeps the original tokenizer
    assert all(row["minus_original"].startswith("n/a") for row in found if row["method"].startswith("none"))
    assert {row["transplant_flops"] for row in found} == {"7000000"}
    assert all((row["training_flops"] == "0") == (row["stage"] == "init") for row in found)
    text = (OUT / "report.html").read_text()
    assert "Ranking: German" in text and '<th scope="row" data-s="mean + prior, then pocket-demo">' in text
    head, *body = re.findall(r"<tr>.*?</tr>", re.search(r"<h2>Ranking.*?</table>", text, re.DOTALL).group(0), re.DOTALL)
    assert len(body) == 10 and all(len(re.findall("<t[dh][ >]", row)) == len(re.findall("<th[ >]", head)) for row in body)


def test_a_list_without_any_score_still_gives_a_page(own_project):
    import shutil

    for folder in ("scores", "speed"):
        shutil.rmtree(Path("results") / folder)
    build_report(load_cells(CELLS), OUT)
    assert "Nothing is scored yet" in (OUT / "report.html").read_text()
    assert all(value.strip() for row in rows(OUT / "leaderboard.csv") for value in row.values())


def test_labels_are_spread_without_leaving_their_order():
    placed = spread([1.0, 1.01, 1.02, 5.0], 0.5)
    assert placed == sorted(placed)
    assert all(right - left >= 0.5 - 1e-9 for left, right in itertools.pairwise(placed))
    assert placed[3] == 5.0 and sum(placed[:3]) / 3 == pytest.approx(1.01)
