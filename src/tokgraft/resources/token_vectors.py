"""Vectors of the target tokens: fastText CBOW over the target-language train text, cut into the target tokens."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from tokgraft.errors import ArtifactError, DataError, TokenizerError, UnavailableError
from tokgraft.resources import _pages
from tokgraft.resources._contract import Inputs, ResourceParams, resource
from tokgraft.vocab import Vocabulary

LIMIT = 1e3
SAMPLE = 1e-4  # the threshold above which frequent tokens are down-sampled: fastText's default, not gensim's


class TokenVectors(ResourceParams):
    """fastText CBOW vectors of target tokens, with the defaults of the reference implementation of FOCUS.

    Trained by gensim with one thread and a seed: equal inputs give equal vectors. (fastText's own program, asked for one thread, fills
    only the first tenth of its table and leaves the rest as the allocator gave it.)
    """

    dim: int = Field(100, ge=2, description="Width (reference code 100; 300 in the paper's runs).")
    epochs: int = Field(3, ge=1, description="Passes over the text.")
    min_count: int = Field(10, ge=1, description="Rarer tokens get no vector.")
    negatives: int = Field(10, ge=1, description="Negative samples.")
    window: int = Field(5, ge=1, description="Tokens of context on each side.")
    rate: float = Field(0.05, gt=0, description="Learning rate at the start.")
    ngrams: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] = Field(
        (3, 6), description="Shortest and longest character n-gram of a token that counts."
    )
    buckets: int = Field(2_000_000, ge=1, description="Hash buckets of the n-grams.")
    seed: int = Field(0, ge=0, description="Seed of the first numbers and of the negative samples.")
    max_bytes: int | None = Field(
        None, ge=1, description="Text that is read, in bytes of UTF-8; whole pages from the start (default: all)."
    )


def load(folder: Path, size: int) -> npt.NDArray[np.float32]:
    """(size, dim), float32; a row of zeros is a token without a vector.

    Raises:
        ArtifactError: The arrays do not fit together, or hold NaN.
    """
    ids = np.load(folder / "ids.npy", allow_pickle=False)
    vectors = np.load(folder / "vectors.npy", allow_pickle=False)
    if len(ids) != len(vectors) or (len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < size):
        raise ArtifactError(f"{folder}: {len(ids)} ids, {len(vectors)} vectors, vocabulary of {size}", "make the resource again")
    if not np.isfinite(vectors).all():
        raise ArtifactError(f"{folder}: token vectors hold NaN or Inf", "make the resource again")
    table = np.zeros((size, vectors.shape[1]), dtype=np.float32)
    table[ids] = vectors
    return table


@resource("token_vectors", TokenVectors, load=load, version=2, needs={"corpus", "tokenizer"}, libraries=["gensim", "tokenizers"])
def build(inputs: Inputs, params: TokenVectors, folder: Path) -> Mapping[str, Any]:
    """Write `ids.npy` (int32, n) and `vectors.npy` (float32, n x dim) for the n tokens that are frequent enough.

    Raises:
        DataError: No token is frequent enough.
        TokenizerError: The tokenizer cannot be read.
    """
    tokenizer = _backend(Path(str(inputs.tokenizer)))
    vocabulary = Vocabulary.from_tokenizer(tokenizer)
    names = token_names(vocabulary)
    counts: Counter[int] = Counter()
    with tempfile.TemporaryDirectory(prefix="tokgraft-") as place:
        text = Path(place) / "tokens.txt"
        with text.open("w", encoding="utf-8") as handle:
            for texts in _pages.batches(Path(str(inputs.corpus)), "tokenizing", params.max_bytes):
                for page in tokenizer.backend_tokenizer.encode_batch(texts, add_special_tokens=False):
                    counts.update(page.ids)
                    handle.write(" ".join(names[number] for number in page.ids) + "\n")
        frequent = sorted(number for number, count in counts.items() if count >= params.min_count)
        if not frequent:
            raise UnavailableError(
                f"no token occurs {params.min_count} times in {inputs.corpus}",
                "lower min_count of token_vectors, or add text to the corpus",
            )
        vectors = _train(text, [names[number] for number in frequent], params)
    np.save(folder / "ids.npy", np.array(frequent, dtype=np.int32), allow_pickle=False)
    np.save(folder / "vectors.npy", vectors, allow_pickle=False)
    return {
        "vocabulary": vocabulary.fingerprint,
        "tokens": sum(counts.values()),
        "vectors": len(frequent),
        "share_with_vector": round(len(frequent) / len(vocabulary.ids), 6),
    }


def token_names(vocabulary: Vocabulary) -> dict[int, str]:
    """A name for every token that is read as exactly one word, close to the token's text so that its n-grams mean something.

    A space is written "▁"; bytes that are other white space, control characters or part of no character are written in hexadecimal.
    Names that several tokens would share get a number before them.
    """
    names: dict[int, str] = {}
    taken: set[str] = {""}
    for number in vocabulary.canonical_order:
        token = vocabulary[number]
        name = token.surface if token.kind == "byte" else _readable(token.text)
        unique, copies = name, 0
        while unique in taken:
            copies += 1
            unique = f"⟨{copies}⟩{name}"
        names[number] = unique
        taken.add(unique)
    return names


def _readable(text: bytes) -> str:
    found = []
    for character in text.decode("utf-8", "surrogateescape"):
        if character == " ":
            found.append("▁")
        elif character.isspace() or not character.isprintable():
            found.extend(f"⟨{byte:02X}⟩" for byte in character.encode("utf-8", "surrogateescape"))
        else:
            found.append(character)
    return "".join(found)


def _backend(folder: Path) -> Any:
    from transformers import PreTrainedTokenizerFast

    if not (folder / "tokenizer.json").is_file():
        raise TokenizerError(f"{folder} holds no tokenizer.json", "give the folder of a tokenizer")
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    return tokenizer


def _train(text: Path, words: list[str], params: TokenVectors) -> npt.NDArray[np.float32]:
    from gensim.models import FastText

    shortest, longest = params.ngrams
    model = FastText(
        corpus_file=str(text), sg=0, vector_size=params.dim, window=params.window, min_count=params.min_count, negative=params.negatives,
        epochs=params.epochs, alpha=params.rate, sample=SAMPLE, min_n=shortest, max_n=longest, bucket=params.buckets,
        seed=params.seed, workers=1,
    )  # fmt: skip
    known = model.wv.key_to_index
    if lost := [word for word in words if word not in known]:
        raise DataError(f"gensim split or dropped {len(lost)} tokens, among them {lost[0]!r}", "this is a defect; please report it")
    vectors = np.stack([model.wv.vectors[known[word]] for word in words]).astype(np.float32)
    if not np.abs(vectors).max() < LIMIT:
        raise DataError("the token vectors diverged", "lower rate of token_vectors")
    return vectors
