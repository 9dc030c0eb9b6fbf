"""What the other languages need of the English corpus: its paragraphs, its splits, its kept text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tokgraft import artifacts, documents, jsonl
from tokgraft.config.language import Splits
from tokgraft.corpus.pages import digest, normal
from tokgraft.documents import SPLITS, Page, Paragraph
from tokgraft.errors import ArtifactError

PARAGRAPHS = "all_paragraphs.txt"
SHORTEST_PAIR = 20


@dataclass(frozen=True)
class English:
    """The English corpus artifact."""

    folder: Path

    @cached_property
    def paragraphs(self) -> set[str]:
        """Normal form of every paragraph of the English help, also of those that were filtered out."""
        path = self.folder / PARAGRAPHS
        return {normal(line) for line in path.read_text(encoding="utf-8").split("\n") if line} if path.is_file() else set()

    @cached_property
    def splits(self) -> dict[str, str]:
        """Page id -> split, of every page of the English help."""
        found: dict[str, str] = jsonl.read_json(self.folder / "splits.json")["pages"]
        return found

    @cached_property
    def kept(self) -> dict[tuple[str, str], str]:
        """(page id, key) -> text of the kept paragraphs."""
        return {
            (page.id, paragraph.key): paragraph.text
            for split in SPLITS
            for page in documents.pages(documents.pages_file(self.folder, split))
            for paragraph in page.paragraphs
        }

    @cached_property
    def held_out(self) -> set[bytes]:
        """Digests of the paragraphs of its test and dev pages."""
        pages = [page for split in ("test", "dev") for page in documents.pages(documents.pages_file(self.folder, split))]
        return {digest(paragraph.text) for page in pages for paragraph in page.paragraphs}

    def rule(self, _: Page, paragraph: Paragraph) -> str | None:
        """Of text that is not aligned: what stands on a held-out English page stays out."""
        return "english_held_out" if digest(paragraph.text) in self.held_out else None


def open_english(folder: Path, splits: Splits, aligned: bool) -> English:
    """The English corpus in `folder`.

    Raises:
        ArtifactError: It is no whole corpus, was split otherwise, or (when pages have to be aligned) holds no help pages.
    """
    manifest = artifacts.expect(folder, "corpus")
    found, wanted = manifest["settings"].get("splits"), splits.model_dump(mode="json")
    if found != wanted:
        raise ArtifactError(
            f"the English corpus {folder} was split with {found or 'settings that it does not name'}, this language asks for {wanted}",
            "prepare both with the same `splits`, or a page could be in train here and in test there",
        )
    english = English(Path(folder))
    if aligned and not english.paragraphs:
        raise ArtifactError(
            f"the English corpus {folder} holds no help pages to align with", "prepare eng_Latn from its source of kind apt_help"
        )
    return english


def write_paragraphs(path: Path, pages: Iterable[Page]) -> None:
    """Every distinct paragraph, one a line, sorted."""
    texts = sorted({paragraph.text for page in pages for paragraph in page.paragraphs})
    path.write_text("".join(text + "\n" for text in texts), encoding="utf-8", newline="\n")


def pairs(pages: Iterable[Page], english: English | None) -> list[dict[str, str]]:
    """Aligned pairs: a kept paragraph and the kept English one with the same page and key, at least 20 characters long."""
    if english is None:
        return []
    return [
        {"page": page.id, "key": paragraph.key, "english": source, "text": paragraph.text}
        for page in pages
        for paragraph in page.paragraphs
        if len(source := english.kept.get((page.id, paragraph.key), "")) >= SHORTEST_PAIR
    ]
