"""Vectors of the target tokens: fastText CBOW over the target-language train text, cut into the target tokens."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from tokgraft.errors import ArtifactError, DataError, TokenizerError
from tokgraft.logs import Heartbeat
from tokgraft.resources._contract import Inputs, Params, resource
from tokgraft.vocab import Vocabulary

BATCH = 256
LARGE = 64 * 2**20
LIMIT = 1e3


@resource("token_vectors", version=1, needs={"corpus", "tokenizer"}, libraries=["fasttext-numpy2-wheel", "tokenizers"])
class TokenVectors(Params):
    """fastText CBOW vectors of target tokens, with the defaults of the reference implementation of FOCUS.

    One thread and fastText's fixed seed (its Python interface takes none): equal inputs give equal vectors.
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
    buckets: int = Field(
        2_000_000, ge=1, description="Hash buckets of the n-grams; more are used where fastText needs them (see the docs)."
    )


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
            for ids in _tokenized(Path(str(inputs.corpus)), tokenizer.backend_tokenizer):
                counts.update(ids)
                handle.write(" ".join(names[number] for number in ids) + "\n")
        frequent = sorted(number for number, count in counts.items() if count >= params.min_count)
        if not frequent:
            raise DataError(
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


def load(folder: Path, size: int) -> npt.NDArray[np.float32]:
    """(size, dim), float32; a row of zeros is a token without a vector.

    Raises:
        ArtifactError: The arrays do not fit together.
    """
    ids = np.load(folder / "ids.npy", allow_pickle=False)
    vectors = np.load(folder / "vectors.npy", allow_pickle=False)
    if len(ids) != len(vectors) or (len(ids) and int(ids.max()) >= size):
        raise ArtifactError(f"{folder}: {len(ids)} ids, {len(vectors)} vectors, vocabulary of {size}", "make the resource again")
    table = np.zeros((size, vectors.shape[1]), dtype=np.float32)
    table[ids] = vectors
    return table


def token_names(vocabulary: Vocabulary) -> dict[int, str]:
    """A name for every token that fastText reads as exactly one word, close to the token's text so that its n-grams mean something.

    A space is written "▁"; bytes that are other white space, control characters or part of no character are written in hexadecimal. What
    fastText would take for its own marks, and names that several tokens would share, get a number before them.
    """
    names: dict[int, str] = {}
    taken: set[str] = {"", "</s>"}
    for number in vocabulary.canonical_order:
        token = vocabulary[number]
        name = token.surface if token.kind == "byte" else _readable(token.text)
        unique, copies = name, 0
        while unique in taken or unique.startswith("__label__"):
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


def _tokenized(corpus: Path, tokenizer: Any) -> Iterator[list[int]]:
    """Token ids of each page of the train split, its paragraphs joined by line ends."""
    path = corpus / "train.jsonl"
    if not path.is_file():
        raise DataError(f"{path} does not exist", "give the folder of a corpus artifact")
    heartbeat = Heartbeat("tokenizing", path.stat().st_size, "bytes")
    batch: list[str] = []
    done = 0
    with path.open(encoding="utf-8") as handle:
        for line in handle:
            batch.append("\n".join(paragraph["text"] for paragraph in json.loads(line)["paragraphs"]))
            done += len(line.encode())
            if len(batch) == BATCH:
                yield from (item.ids for item in tokenizer.encode_batch(batch, add_special_tokens=False))
                heartbeat.beat(done)
                batch = []
    yield from (item.ids for item in tokenizer.encode_batch(batch, add_special_tokens=False))
    heartbeat.beat(done)


def _train(text: Path, words: list[str], params: TokenVectors) -> npt.NDArray[np.float32]:
    import fasttext

    try:
        model = fasttext.train_unsupervised(
            str(text), model="cbow", dim=params.dim, epoch=params.epochs, minCount=params.min_count, neg=params.negatives, ws=params.window,
            lr=params.rate, minn=params.ngrams[0], maxn=params.ngrams[1], bucket=buckets(len(words), params), thread=1, verbose=0,
        )  # fmt: skip
    except RuntimeError as error:
        raise DataError(f"fastText failed: {error}", "lower rate of token_vectors") from error
    known = set(model.get_words())
    if lost := [word for word in words if word not in known]:
        raise DataError(f"fastText split or dropped {len(lost)} tokens, among them {lost[0]!r}", "this is a defect; please report it")
    vectors = np.stack([model.get_word_vector(word) for word in words]).astype(np.float32)
    if not np.abs(vectors).max() < LIMIT:
        raise DataError("the token vectors diverged", "lower rate of token_vectors")
    return vectors


def buckets(words: int, params: TokenVectors) -> int:
    """Buckets with which fastText starts from defined numbers.

    With one thread it fills only the first tenth of its table (words, then buckets) with random numbers and leaves the rest as the
    allocator gave it. So the words must lie in the first tenth, and the table must be large enough to come from fresh pages, which are zero.
    """
    return max(params.buckets, 10 * words, LARGE // (4 * params.dim))
