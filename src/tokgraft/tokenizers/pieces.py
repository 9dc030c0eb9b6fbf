"""Unigram pieces and their log-probabilities, fitted by SentencePiece (Kudo 2018, arXiv:1804.10959) on words we cut ourselves."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Sequence

from tokgraft.errors import TokenizerError

DELIMITER = "\ufdd1"  # Unicode reserves it for such inner use
LONGEST = 16  # characters, as SentencePiece has it
TOO_HIGH = re.compile(r"Vocabulary size too high.*<= (\d+)")
TOO_LOW = re.compile(r"Vocabulary size is smaller than required_chars\. (\d+) vs (\d+)")


class TooMany(Exception):
    """The text supports fewer pieces than asked for: `most`."""

    def __init__(self, most: int) -> None:
        super().__init__(str(most))
        self.most = most


def fit(texts: Iterable[Sequence[str]], size: int, coverage: float, longest: int = LONGEST) -> list[tuple[str, float]]:
    """Fit a unigram model.

    Args:
        texts: The words of each text; no piece crosses their borders. Spaces are `▁`.
        size: How many pieces.
        coverage: Share of the characters that get a piece.
        longest: Longest piece, in characters.

    Returns:
        (piece, natural log-probability), most probable first. One thread, so that the same texts give the same pieces.

    Raises:
        TooMany: The text does not support so many pieces.
        TokenizerError: The characters alone need more, or there is no text.
    """
    import sentencepiece

    out = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=(DELIMITER.join(words) for words in texts if words), model_writer=out, model_type="unigram",
            vocab_size=size + 1, character_coverage=coverage, max_sentencepiece_length=longest, unk_id=0, bos_id=-1, eos_id=-1, pad_id=-1,
            normalization_rule_name="identity", add_dummy_prefix=False, remove_extra_whitespaces=False, split_by_number=False,
            allow_whitespace_only_pieces=True, pretokenization_delimiter=DELIMITER, max_sentence_length=2**30, num_threads=1,
            minloglevel=2,
        )  # fmt: skip
    except RuntimeError as error:
        if found := TOO_HIGH.search(str(error)):
            raise TooMany(int(found[1]) - 1) from None
        if found := TOO_LOW.search(str(error)):
            raise TokenizerError(
                f"the vocabulary has room for {size} pieces, but the text needs {int(found[2]) - 1} characters",
                "use a larger vocab_size or a lower character_coverage",
            ) from None
        raise TokenizerError(f"SentencePiece cannot learn from this text: {error}", "give it real text, with words that repeat") from None
    model = sentencepiece.SentencePieceProcessor(model_proto=out.getvalue())
    return [(model.id_to_piece(number), float(model.get_score(number))) for number in range(1, model.get_piece_size())]


def reachable(pieces: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    """The pieces that are the best segmentation of their own string.

    Others are never produced (part of a best segmentation is a best segmentation), so that dropping them changes nothing.
    """
    from tokenizers import models

    if not pieces:
        return []
    model = models.Unigram([("\ufdd0", 0.0), *pieces], unk_id=0)
    return [(piece, score) for piece, score in pieces if [token.value for token in model.tokenize(piece)] == [piece]]


def most_probable(pieces: Sequence[tuple[str, float]], size: int) -> list[tuple[str, float]]:
    """All single characters and the most probable others, `size` in all, in their order. What is taken away makes nothing unreachable."""
    single = sum(len(piece) == 1 for piece, _ in pieces)
    left = size - single
    kept = []
    for piece, score in pieces:
        if len(piece) > 1:
            left -= 1
            if left < 0:
                continue
        kept.append((piece, score))
    return kept


def fit_reachable(
    cut: Callable[[], Iterable[Sequence[str]]], size: int, coverage: float, longest: int = LONGEST
) -> list[tuple[str, float]]:
    """`fit`, with a few pieces more and those left out that could never be produced.

    Raises:
        TooMany, TokenizerError: As `fit`.
    """
    spare = max(32, size // 50)
    while True:
        try:
            found = reachable(fit(cut(), size + spare, coverage, longest))
        except TooMany as error:
            found = reachable(fit(cut(), error.most, coverage, longest)) if error.most > 1 else []
            if len(found) < size:
                raise TooMany(len(found)) from None
        if len(found) >= size:
            return most_probable(found, size)
        spare *= 4
