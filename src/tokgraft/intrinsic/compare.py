"""Several tokenizers on the same texts, side by side, the splits visible: one page that needs nothing else."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokgraft import artifacts
from tokgraft.artifacts import write_files
from tokgraft.errors import ConfigError
from tokgraft.intrinsic.card import render
from tokgraft.intrinsic.inputs import Subject, begin, lines, read_pages
from tokgraft.intrinsic.splits import side_by_side
from tokgraft.logs import log

LONGEST = 2000
"""Characters of a text that are shown."""


def compare_tokenizers(
    folders: Sequence[str | Path],
    out: Path,
    texts: Sequence[str] = (),
    file: Path | None = None,
    corpus: Path | None = None,
    samples: int = 6,
) -> dict[str, Any]:
    """Write `out` (HTML) and the same content as JSON beside it.

    Args:
        folders: Tokenizer folders, each as a path or `name=path`.
        out: The page.
        texts: Texts to cut.
        file: UTF-8 file with one more text a line.
        corpus: Corpus artifact; paragraphs spread over its test pages are taken.
        samples: How many of these.

    Returns:
        Tokens of each tokenizer on each text, and in all.

    Raises:
        ConfigError: No text is given, or two tokenizers have one name.
        DataError, TokenizerError: A file cannot be read.
    """
    files = [Path(out), Path(out).with_suffix(".json")]
    begin(files, _reads(folders, file, corpus))
    if corpus is not None:
        artifacts.expect(corpus, "corpus")
    subjects = [_load(str(folder)) for folder in folders]
    if twice := [name for name, often in Counter(subject.name for subject in subjects).items() if often > 1]:
        raise ConfigError(f"two tokenizers are called {twice[0]}", "name them: compare one=folder two=other-folder")
    chosen = [text for text in (*texts, *(lines(file) if file else []), *_paragraphs(corpus, samples)) if text.strip()]
    if not chosen:
        raise ConfigError("no text to compare tokenizers on", "give --corpus, --text or --file")
    rows = side_by_side(subjects, [text[:LONGEST] for text in chosen])
    total = sum(text["bytes"] for text in rows)
    sums = []
    for place, subject in enumerate(subjects):
        tokens = sum(text["rows"][place]["tokens"] for text in rows)
        sums.append({"name": subject.name, "size": subject.size, "tokens": tokens, "bytes_per_token": round(total / max(tokens, 1), 4)})
    found = {"tokenizers": sums, "bytes": total, "texts": rows}
    page = render("compare.html", sums=sums, texts=rows, total=total)
    write_files(dict(zip(files, (page, json.dumps(found, indent=1, ensure_ascii=False) + "\n"))))
    for entry in sums:
        log.info("%s: %d tokens, %.3f bytes per token", entry["name"], entry["tokens"], entry["bytes_per_token"])
    log.info("wrote %s", out)
    return found


def _reads(folders: Sequence[str | Path], file: Path | None, corpus: Path | None) -> dict[str, Path]:
    given = {f"tokenizer {folder}": Path(str(folder).partition("=")[2] or folder) for folder in folders}
    return given | {role: Path(path) for role, path in (("texts", file), ("corpus", corpus)) if path is not None}


def _load(text: str) -> Subject:
    name, equals, folder = text.partition("=")
    if equals and not Path(text).exists():
        return Subject.load(Path(folder), name)
    path = Path(text)
    return Subject.load(path, "/".join(path.parts[-2:]) if path.name in ("base", "init") else path.name)


def _paragraphs(corpus: Path | None, samples: int) -> list[str]:
    """Paragraphs of some length, spread evenly over the test pages."""
    if corpus is None or samples < 1:
        return []
    lines = [line for page in read_pages(Path(corpus), "test", 10_000_000) for line in page.split("\n")]
    long = [line for line in lines if 80 <= len(line) <= 400] or lines
    return long[:: max(1, len(long) // samples)][:samples]
