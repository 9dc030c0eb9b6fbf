"""Known mixtures are recovered; challenges really tempt."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import toys
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from tokgraft.errors import ConfigError, DataError, TokenizerError
from tokgraft.intrinsic import adversarial
from tokgraft.intrinsic.inputs import Subject, read_pages
from tokgraft.intrinsic.mixture import infer, merges_of, mixture_of_corpora, replay, words_of
from toysubjects import corpus, of

CORPORA = Path(__file__).parents[2] / "results" / "corpora"


def language(seed: int, letters: str, size: int) -> list[str]:
    """About `size` bytes of lines of a made-up language with 400 words of a skewed frequency."""
    draw = random.Random(seed)
    words = ["".join(draw.choices(letters, range(len(letters), 0, -1), k=draw.randint(2, 8))) for _ in range(400)]
    weights = [1 / (rank + 3) for rank in range(len(words))]
    lines: list[str] = []
    while sum(map(len, lines)) < size:
        lines += [" ".join(draw.choices(words, weights, k=12)) for _ in range(20)]
    return lines


def trained(lines: list[str], folder: Path, size: int = 700) -> Subject:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(
        lines, trainers.BpeTrainer(vocab_size=size, show_progress=False, initial_alphabet=alphabet, special_tokens=["<s>"])
    )
    folder.mkdir()
    backend.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text('{"bos_token": "<s>"}')
    return Subject.load(folder)


@pytest.mark.parametrize("shares", [(0.7, 0.2, 0.1), (0.1, 0.3, 0.6)])
def test_a_known_mixture_is_recovered(shares: tuple[float, ...], tmp_path: Path) -> None:
    alphabets = ("eanirstdhul", "aioetnrlskm", "oeaniszrwcy")
    texts = [language(seed, letters, 120_000) for seed, letters in enumerate(alphabets)]
    part = [lines[: int(len(lines) / 2 * share)] for lines, share in zip(texts, shares)]
    subject = trained([line for lines in part for line in lines], tmp_path / "t")
    fresh = [lines[len(lines) // 2 :] for lines in texts]  # not what it was trained on
    sizes = [float(sum(len(line.encode()) for line in lines)) for lines in fresh]
    found = infer(replay(merges_of(subject)[:250], [words_of(subject, lines) for lines in fresh], sizes), ["a", "b", "c"])
    wanted = np.array([sum(map(len, lines)) for lines in part], dtype=float)
    assert np.abs(np.array(list(found.shares.values())) - wanted / wanted.sum()).max() < 0.05
    assert sum(found.shares.values()) == pytest.approx(1, abs=1e-4) and found.rows > 10


@pytest.mark.slow
def test_a_mixture_of_three_languages_is_recovered(tmp_path: Path) -> None:
    shares = {"deu_Latn": 0.7, "ell_Grek": 0.2, "eng_Latn": 0.1}
    if not all((CORPORA / name / "manifest.json").is_file() for name in shares):
        pytest.skip("results/corpora/{deu_Latn,ell_Grek,eng_Latn} are not built")
    pages = {name: read_pages(CORPORA / name, "train", 1_500_000) for name in shares}
    lines: list[str] = []
    for name, share in shares.items():
        size = 0
        for page in pages[name][::2]:
            if size < 700_000 * share:
                lines.append(page)
                size += len(page.encode())
    subject = trained(lines, tmp_path / "t", 1500)
    rest = {name: listed[1::2] for name, listed in pages.items()}
    sizes = [float(sum(len(page.encode()) for page in listed)) for listed in rest.values()]
    found = infer(replay(merges_of(subject)[:300], [words_of(subject, listed) for listed in rest.values()], sizes), list(shares))
    assert max(abs(found.shares[name] - share) for name, share in shares.items()) < 0.05


def test_a_replay_counts_as_counting_anew_does() -> None:
    """The incremental counts of every step are those of segmenting all words by the merges so far."""
    subject = of(toys.tokenizer("byte_level"))
    samples = [words_of(subject, toys.english()[:40]), words_of(subject, toys.german())]
    merges = merges_of(subject)[:60]
    played = replay(merges, samples)
    counts = played.start.copy()
    for step in range(len(merges)):
        counts[played.places[step]] += played.changes[step]
    direct = Counter[tuple[str, str]]()
    for word, often in samples[1].items():
        symbols = list(word)
        for left, right in merges:
            at = 0
            while at < len(symbols) - 1:
                if (symbols[at], symbols[at + 1]) == (left, right):
                    symbols[at : at + 2] = [left + right]
                at += 1

        for pair in itertools.pairwise(symbols):
            direct[pair] += often
    assert sorted(count for count in counts[:, 1] if count) == sorted(map(float, direct.values()))
    assert (counts >= 0).all()


def test_what_has_no_mixture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match="BPE only"):
        merges_of(of(toys.tokenizer("unigram")))
    subject = of(toys.tokenizer("byte_level"))
    merges = merges_of(subject)[:5]
    with pytest.raises(DataError, match="two languages"):
        infer(replay(merges, [Counter({"ab": 1})]), ["deu"])
    with pytest.raises(DataError, match="no merge"):
        infer(replay(merges, [Counter({"xq": 1}), Counter({"qx": 1})]), ["deu", "ell"])
    with pytest.raises(DataError, match="ell is empty"):
        infer(replay(merges, [Counter({"he": 1}), Counter()]), ["deu", "ell"])
    made = corpus(tmp_path / "c", "deu_Latn", {"train": [["ab"]]})
    toys.tokenizer("byte_level").save_pretrained(tmp_path / "t")
    with pytest.raises(ConfigError, match="one language"):
        mixture_of_corpora(tmp_path / "t", [made, made])
    with pytest.raises(ConfigError, match="--merges"):
        mixture_of_corpora(tmp_path / "t", [made], merges=0)


def test_a_token_across_two_words_is_crossed(subject: Any) -> None:
    toy = subject("rten", "gart", "uhr")
    words = Counter({"garten": 5, "bart": 4, "ende": 3, "sehr": 2, "uhren": 2})
    items = adversarial.candidates(toy, words, 10)
    item = next(one for one in items if one.token == "rten")
    assert (item.first, item.second) == ("bart", "ende")
    assert item.text[item.boundary :].startswith("ende") and "bartende" in item.text and "bart ende" in item.control
    assert adversarial.crossing(toy, [item]) == [True] and adversarial.crossing(subject(name="bytes"), [item]) == [False]
    assert adversarial.control_crossing(toy, [item]) == [False]
    spanning = subject("t e", name="spanning")
    assert adversarial.control_crossing(spanning, [item]) == [True]


def test_temptation_beats_chance(tmp_path: Path) -> None:
    lines = [line for line in toys.english() if line.isascii()]
    subject = of(toys.tokenizer("byte_level"))
    made = corpus(tmp_path / "c", "eng_Latn", {"train": [[line] for line in lines]})
    toys.tokenizer("byte_level").save_pretrained(tmp_path / "t")
    rates = adversarial.challenge_corpus(tmp_path / "t", made, 60, out=tmp_path / "set.jsonl")
    assert 0 <= rates["control_rate"] < rates["random_rate"] < rates["crossing_rate"] <= 1
    kept = (tmp_path / "set.jsonl").read_text().splitlines()
    assert len(kept) == round(rates["crossing_rate"] * rates["candidates"])
    with pytest.raises(DataError, match="can be made of two words"):
        adversarial.candidates(subject, Counter({"zzz": 1}), 5)
    with pytest.raises(DataError, match="without spaces"):
        adversarial.challenge_corpus(tmp_path / "t", corpus(tmp_path / "th", "tha_Thai", {"train": [["ภาษา"]]}, words="none"))
