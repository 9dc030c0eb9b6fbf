from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tokgraft.config.base import slugs
from tokgraft.config.language import AptHelp, Language
from tokgraft.corpus.quality import identify, known_labels

ROOT = Path(__file__).parents[2] / "config"


@pytest.mark.parametrize("slug", slugs("languages", ROOT))
def test_a_language_file_is_right(slug: str) -> None:
    language = Language.load(slug, ROOT)
    assert slug == f"{language.iso639_3}_{language.script}"
    assert set(language.lid) <= set(known_labels())
    with (ROOT / "sources.csv").open(newline="") as handle:
        pinned = {row["name"]: row["sha256"] for row in csv.DictReader(handle)}
    for source in language.sources:
        if isinstance(source, AptHelp):
            assert len(pinned[source.package]) == 64
    assert language.hub_tasks or language.parent  # the harness has no task for some dialects


def test_english_is_in_the_box() -> None:
    assert "eng_Latn" in slugs("languages", ROOT)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("Wählen Sie einen Eintrag aus der Liste aus und klicken Sie dann auf die Schaltfläche.", "de"),
        ("Επιλέξτε ένα στοιχείο από τον κατάλογο και κάντε κλικ στο κουμπί.", "el"),
        ("목록에서 항목을 선택한 다음 단추를 누르십시오.", "ko"),
        ("សូម​ជ្រើស​ធាតុ​មួយ​ពី​បញ្ជី រួច​ចុច​ប៊ូតុង", "km"),
    ],
)
def test_the_identifier_works(text: str, label: str) -> None:
    guess, probability = identify(text)[0]
    assert guess == label and probability > 0.8
