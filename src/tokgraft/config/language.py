"""A language, dialect or domain: its codes, where its text comes from, how it is filtered, which tasks score it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from tokgraft.config import bounds
from tokgraft.config.base import ConfigFile, HarnessName, Slug, Strict, slugs
from tokgraft.errors import ConfigError


class AptHelp(Strict):
    """LibreOffice help, extracted from a Debian/Ubuntu package that `apt-get download` fetches (no root needed)."""

    kind: Literal["apt_help"]
    package: str = Field(description="Name of the package, e.g. libreoffice-help-de.", pattern=r"^[a-z0-9.+-]+$")


class Hub(Strict):
    """A data set of the Hugging Face Hub, streamed until `max_bytes` of text are read."""

    kind: Literal["hub"]
    id: str = Field(description="Repository id, e.g. HuggingFaceFW/fineweb-2.")
    config: str | None = Field(None, description="Configuration (subset) of the data set, e.g. deu_Latn.")
    split: str = Field("train", description="Split to stream.")
    revision: str = Field(description="Commit of the data set; a branch name would not be reproducible.", pattern=r"^[0-9a-f]{40}$")
    text: str = Field("text", description="Column that holds the text.")
    max_bytes: int = Field(200_000_000, gt=0, le=bounds.BYTES, description="Stop after this many bytes of text.")


class Local(Strict):
    """A folder (or one file) of .txt, .jsonl or .parquet; every file, line or row is one document."""

    kind: Literal["local"]
    path: str = Field(description="Folder or file, relative to where the run starts, or absolute.")
    text: str = Field("text", description="Key (jsonl) or column (parquet) that holds the text.")
    max_bytes: int | None = Field(None, gt=0, le=bounds.BYTES, description="Stop after this many bytes of text.")


Source = Annotated[AptHelp | Hub | Local, Field(discriminator="kind")]


class Filters(Strict):
    """Quality rules. A page that breaks one is dropped and counted under the rule's name."""

    lid_threshold: float = Field(0.5, ge=0, le=1, description="Smallest probability of an accepted language label.")
    min_bytes: int = Field(40, ge=0, le=bounds.BYTES, description="Shortest page kept, in UTF-8 bytes.")
    max_bytes: int = Field(1_000_000, gt=0, le=bounds.BYTES, description="Longest page kept, in UTF-8 bytes.")
    max_symbol_ratio: float = Field(
        0.4, ge=0, le=1, description="Largest share of characters that are neither letter, mark, digit nor space."
    )
    min_letter_ratio: float = Field(0.4, ge=0, le=1, description="Smallest share of letters and marks among non-space characters.")
    max_repeated_lines: float = Field(0.6, ge=0, le=1, description="Largest share of a page's paragraphs that repeat an earlier one of it.")
    near_duplicate: float = Field(0.7, gt=0, le=1, description="MinHash Jaccard similarity from which two pages count as one.")


class Language(ConfigFile):
    """One file of config/languages/."""

    folder: ClassVar[str] = "languages"
    kind: ClassVar[str] = "language"

    name: str = Field(description="English name, e.g. German.")
    native_name: str = Field("", description="The language's own name.")
    bcp47: str = Field(description="BCP-47 tag, e.g. de or pt-BR.")
    iso639_3: str = Field(description="ISO 639-3 code.", pattern=r"^[a-z]{3}$")
    script: str = Field(description="ISO 15924 code of the script.", pattern=r"^[A-Z][a-z]{3}$")
    lid: list[str] = Field(description="Labels of lid.176 accepted for it; empty: language id is skipped.")
    words: Literal["space", "none"] = Field("space", description="Whether spaces separate words (none: characters serve as words).")
    romanize: bool = Field(
        False, description="Rewrite the text in Latin letters (uroman, lossy), after its language was identified: a variant of `parent`."
    )
    parent: Slug | None = Field(None, description="Slug of the language it is a dialect or domain of.")
    sources: list[Source] = Field(min_length=1, description="Where the text comes from.")
    shards: int = Field(1, ge=1, le=500, description="Jobs that prepare the text side by side, for big sources of kind hub or local.")
    filters: Filters = Field(default_factory=Filters, description="Quality rules.")
    hub_tasks: list[HarnessName] = Field(
        default_factory=list, description="lm-eval tasks by name, scored only when the Hub can be reached."
    )
    licence: str = Field("", description="Licence of the text.")

    @classmethod
    def aliases(cls, root: Path = Path("config")) -> dict[str, list[str]]:
        """Names and codes of every language -> its slugs: `vi`, `vie` and `vietnamese` for vie_Latn."""
        found: dict[str, list[str]] = {}
        for slug in slugs(cls.folder, root):
            with suppress(ConfigError):  # a file that is wrong has no names
                language = cls.load(slug, root)
                words = {language.name, language.native_name, language.bcp47, language.bcp47.split("-")[0], language.iso639_3, slug}
                for word in words - {""}:
                    found.setdefault(word.casefold(), []).append(slug)
        return found


class Splits(Strict):
    """How pages are split, identically for all languages (design: nothing shared between train and test)."""

    test: float = Field(0.10, gt=0, lt=1, description="Share of page components held out for testing.")
    dev: float = Field(0.03, gt=0, lt=1, description="Share of page components for validation.")
    seed: int = Field(0, ge=0, le=bounds.SEED, description="Seed of the split.")
    max_pages: int = Field(2, ge=1, le=bounds.ITEMS, description="A long paragraph joins its pages when it stands on at most this many.")


class CorpusSettings(ConfigFile):
    """What the corpus stage is given: a language and the splits."""

    kind: ClassVar[str] = "corpus"

    slug: Slug = Field(description="Slug of the language.")
    language: Language = Field(description="The language.")
    splits: Splits = Field(default_factory=Splits, description="How pages are split.")
    max_bytes: int | None = Field(
        None, gt=0, le=bounds.BYTES, description="Keep at most this many bytes of text (whole pages, by hash order): small trials."
    )
