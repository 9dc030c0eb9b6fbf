"""Cut training text at morpheme borders, so that merges are learned inside morphemes (after Park et al. 2020, arXiv:2010.02534, for Korean).

The analyser is used for training only. The tokenizer is a plain `tokenizer.json` that cuts at words as any other: its merges have never
seen a morpheme border, but nothing stops them from crossing one in new text. Cutting at borders when encoding as well would need the
analyser wherever the model runs, hence a wrapper, and is not offered.
"""

from __future__ import annotations

import importlib
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tokgraft.config.tokenizer import Morphemes
from tokgraft.errors import TokenizerError

PACKAGES: dict[Morphemes, tuple[str, str, str]] = {  # package, module, what for
    "morfessor": ("Morfessor", "morfessor", "any language with spaces"),
    "kiwi": ("kiwipiepy", "kiwipiepy", "Korean"),
    "newmm": ("pythainlp", "pythainlp", "Thai"),
}
MOST_TYPES = 5000  # Morfessor's training time grows faster than the number of words
Borders = Callable[[str], list[int]]


def require(name: Morphemes) -> Any:
    """The analyser's module.

    Raises:
        TokenizerError: It is not installed.
    """
    package, module, languages = PACKAGES[name]
    try:
        return importlib.import_module(module)
    except ImportError:
        raise TokenizerError(
            f"morphemes: {name} ({languages}) needs the package {package}, which is not installed", f"pip install {package}"
        ) from None


def chunks(texts: Sequence[str], name: Morphemes) -> Iterator[str]:
    """The texts, cut at morpheme borders inside words; joined they are the texts.

    Args:
        texts: What a trainer learns from; Morfessor is itself trained on them.
        name: The analyser.
    """
    borders = {"morfessor": _morfessor, "kiwi": _kiwi, "newmm": _newmm}[name](texts, require(name))
    for text in texts:
        start = 0
        for place in borders(text):
            if start < place < len(text) and not text[place].isspace() and not text[place - 1].isspace():
                yield text[start:place]
                start = place
        yield text[start:]


def _morfessor(texts: Sequence[str], module: Any) -> Borders:
    import regex

    words = regex.compile(r"[\p{L}\p{M}]+")
    model, _ = morfessor_model(Counter(word for text in texts for word in words.findall(text)))
    known: dict[str, list[int]] = {}

    def inside(word: str) -> list[int]:
        if word not in known:
            ends, end = [], 0
            for morph in model.viterbi_segment(word)[0][:-1]:
                end += len(morph)
                ends.append(end)
            known[word] = ends
        return known[word]

    return lambda text: [match.start() + end for match in words.finditer(text) for end in inside(match.group())]


def morfessor_model(words: Mapping[str, int]) -> tuple[Any, list[str]]:
    """Morfessor Baseline on the most frequent words, their counts dampened by the logarithm (Virpioja et al. 2013).

    Args:
        words: Word -> how often it occurs.

    Returns:
        The model, and the words it was trained on.

    Raises:
        TokenizerError: The package is not installed.
    """
    model = require("morfessor").BaselineModel()
    frequent = sorted(sorted(words.items(), key=lambda item: (-item[1], item[0]))[:MOST_TYPES])
    model.load_data([(max(1, round(math.log(count + 1))), word) for word, count in frequent])
    _quietly(model.train_batch)
    return model, [word for word, _ in frequent]


def _quietly(train: Callable[[], Any]) -> None:
    """Without the progress that Morfessor writes to the terminal, and with a fixed order of words (it shuffles them)."""
    import contextlib
    import io
    import random

    state = random.getstate()
    random.seed(0)
    try:
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            train()
    finally:
        random.setstate(state)


def _kiwi(texts: Sequence[str], module: Any) -> Borders:
    analyser = module.Kiwi(num_workers=1)
    return lambda text: sorted({token.start for token in analyser.tokenize(text)})


def _newmm(texts: Sequence[str], module: Any) -> Borders:
    tokenize = importlib.import_module("pythainlp.tokenize").word_tokenize

    def borders(text: str) -> list[int]:
        places, end = [], 0
        for word in tokenize(text, engine="newmm", keep_whitespace=True):
            places.append(end)
            end += len(word)
        return places if end == len(text) else []

    return borders
