"""The reference packages' own code on the inputs of a case. What they only read or look up is prepared before the clock starts.

Each function returns what is timed, and the parameters with which our method does the same.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from tests.bench.german import Case
from tokgraft.rows.words import token_texts

BATCH = 512  # new tokens at once, an option of mergekit; all at once, its default, is slower here
Run = Callable[[], Any]


@dataclass(frozen=True)
class Peer:
    """A reference.

    Attributes:
        package: Its name.
        prepare: Gives what is timed.
        settings: Parameters of our method that do the same.
        excluded: What the clock does not see of it.
    """

    package: str
    prepare: Callable[[Case], Run]
    settings: Mapping[str, Any]
    excluded: str = ""
    adapt: Callable[[Case], Case] = lambda case: case  # the inputs of our method, where the reference has some of its work done before


class _Looked:
    """Word vectors behind wechsel's interface, those of tokens' texts by look-up."""

    def __init__(self, words: Any, texts: set[str]) -> None:
        self.words = words
        known = sorted(texts | set(words.words))
        self.by_text = dict(zip(known, words.vectors_of(known)))

    def has_subword_info(self) -> bool:
        return True

    def get_dimension(self) -> int:
        return int(self.words.vectors.shape[1])

    def get_words_and_freqs(self) -> Any:
        return self.words.words, self.words.counts

    def get_word_vector(self, word: str) -> Any:
        return self.by_text[word]

    def get_word_id(self, word: str) -> int:
        return int(self.words.index.get(word, -1))


class _Rows(_Looked):
    """The same word vectors for our method, by the same look-up."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.words, name)

    def vectors_of(self, texts: Any) -> Any:
        rows = [self.by_text[text] for text in texts]
        return np.array(rows)


def looked_up(case: Case) -> Case:
    """The case with vectors of all texts computed before."""
    sides = case.task.resources["word_vectors"]
    texts = [set(token_texts(vocabulary).values()) for vocabulary in (case.task.source, case.task.target)]
    both = SimpleNamespace(english=_Rows(sides.english, texts[0]), target=_Rows(sides.target, texts[1]))
    return replace(case, task=replace(case.task, resources={**case.task.resources, "word_vectors": both}))


def wechsel(case: Case) -> Run:
    """Rotation by the dictionary, vectors of tokens, mixtures."""
    import wechsel as package

    sides = case.task.resources["word_vectors"]
    pairs = [(english, word) for english, word, _ in case.task.resources["dictionary"]]
    models = []
    for words, tokenizer in ((sides.english, case.source), (sides.target, case.target)):
        models.append(_Looked(words, {tokenizer.decode(number).strip() for number in range(len(tokenizer))}))

    def run() -> Any:
        align: Any = package.WECHSEL._compute_align_matrix_from_dictionary
        matrix = align(None, *models, pairs)
        old, new = (
            package.get_subword_embeddings_in_word_embedding_space(tokenizer, model, verbose=False)[0]
            for tokenizer, model in zip((case.source, case.target), models)
        )
        return package.create_target_embeddings(old @ matrix, new, case.source, case.target, case.task.E, verbose=False)[0]

    return run


def deepfocus(case: Case) -> Run:
    """Overlap, cosines, sparsemax, mixtures."""
    import torch
    from deepfocus import focus

    X = case.task.resources["token_vectors"]
    by_name = {surface: X[number] for surface, number in case.target.get_vocab().items()}
    E = torch.from_numpy(case.task.E)
    focus.load_target_token_embedding = lambda **_: by_name

    def run() -> Any:
        return focus.FOCUS(
            target_tokenizer=case.target, source_tokenizer=case.source, source_embeddings=E, fasttext_model_path="given", verbosity="silent"
        )

    return run


def langsfer(sparse: bool) -> Callable[[Case], Run]:
    """Overlap, cosines, their mean or sparsemax."""

    def prepare(case: Case) -> Run:
        from langsfer import high_level
        from langsfer.embeddings import TransformersEmbeddings
        from langsfer.weights import SparsemaxWeights

        donor = TransformersEmbeddings(case.task.resources["donor"].E, case.target)

        def run() -> Any:
            transfer = high_level.clp_transfer(case.source, case.task.E, case.target, donor)
            if sparse:
                transfer.weights_strategy = SparsemaxWeights()
            return transfer.initialize(seed=0)

        return run

    return prepare


def trans_tokenizers(case: Case) -> Run:
    """Counts of tokens, smoothing, mixtures. Tokenizers are handed over instead of read, and their dictionaries are kept in order."""
    from transtokenizers import transtokenizers as package

    found = case.task.resources["token_alignment"]
    place = tempfile.TemporaryDirectory(prefix="tokgraft-bench-")
    names = case.task.source, case.task.target
    lines = [
        f"{names[0][old].surface}\t{names[1][new].surface}\t-1.0\t{max(int(count), 10)}\n"
        for new, old, count in zip(found["target"].tolist(), found["source"].tolist(), found["count"].tolist())
    ]
    pairs = Path(place.name) / "pairs.tsv"
    pairs.write_text("".join(lines), encoding="utf-8")
    sides = {"source": _Ordered(case.source), "target": _Ordered(case.target)}
    package.transformers = SimpleNamespace(AutoTokenizer=SimpleNamespace(from_pretrained=sides.__getitem__))
    E = case.task.E

    def run() -> Any:
        with place_kept(place):
            counts, _ = package.map_tokens(str(pairs), "source", "target")
            mapping = package.smooth_mapping("target", counts)
            rows = np.zeros((len(case.task.target), E.shape[1]), dtype=np.float32)
            vocab = sides["source"].vocab
            for number, (_, mixture) in enumerate(mapping):
                rows[number] = sum(E[vocab.get(name, 0)] * weight for name, weight in mixture)
            return rows

    return run


@contextlib.contextmanager
def place_kept(place: Any) -> Iterator[Any]:
    """Keep a temporary folder alive, and what the package prints away."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield place


class _Ordered:
    """A tokenizer whose vocabulary is read once, by id."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.vocab = dict(sorted(tokenizer.get_vocab().items(), key=lambda item: item[1]))

    def get_vocab(self) -> dict[str, int]:
        return self.vocab

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

    def __len__(self) -> int:
        return len(self._tokenizer)


def subword(case: Case) -> Run:
    """Mean over the pieces of each new token."""
    import torch
    from mergekit.tokensurgeon import subword as package

    E, shared = torch.from_numpy(case.task.E), case.task.overlap
    texts: list[Any] = [case.task.target[number].shown for number in case.task.target.text_ids if number not in shared]
    return lambda: package.subword_approximate(E, texts, False, case.source, package.SubwordMethod.MEAN)


def _spaces(case: Case) -> tuple[Any, Any, Any]:
    """Donor rows of new tokens and of anchors, base rows of anchors."""
    import torch

    G, shared = case.task.resources["donor"].E, case.task.overlap
    order = case.task.target.canonical_order
    anchors = [number for number in order if number in shared and shared[number].level != "substitute"]
    new = [number for number in order if number not in shared]
    return tuple(torch.from_numpy(part) for part in (G[new], G[anchors], case.task.E[[shared[number].source for number in anchors]]))


def codes(kind: str) -> Callable[[Case], Run]:
    """Sparse codes by pursuit ("omp") or nearest anchors ("interpolation") in batches, and the rows they give."""

    def prepare(case: Case) -> Run:
        import torch
        from mergekit import tokensurgeon as package

        X, A, B = _spaces(case)
        make = {"omp": package.batch_omp, "interpolation": package.common_interp_approximate}[kind]

        def run() -> Any:
            rows = []
            for begin in range(0, len(X), BATCH):
                picks, weights = make(X[begin : begin + BATCH], A, 64)
                rows.append(torch.bmm(weights[:, None].float(), B[picks])[:, 0])
            return torch.cat(rows)

        return run

    return prepare


def landmark_pca(case: Case) -> Run:
    """Principal components of both spaces and a rotation."""
    from mergekit.tokensurgeon import pca

    parts = _spaces(case)
    return lambda: pca.landmark_pca_approximate(*parts)


def sparse_basis(case: Case) -> Run:
    """The parts of mergekit's way as they were meant: its own call passes a wrong argument."""
    import torch
    from mergekit.tokensurgeon import token_basis

    X, A, B = _spaces(case)
    means = torch.from_numpy(case.task.resources["donor"].E).mean(dim=0), torch.from_numpy(case.task.E).mean(dim=0)
    narrow = A if A.shape[1] < B.shape[1] else B

    def run() -> Any:
        picks, weights = token_basis.sparse_linear_basis(narrow, k=64, d=narrow.shape[1])
        bases = [torch.bmm(weights[:, None], rows[picks])[:, 0] for rows in (A, B)]
        return torch.linalg.lstsq(bases[0].T, (X - means[0]).T).solution.T @ bases[1] + means[1]

    return run


PEERS: dict[str, Peer] = {
    "clp": Peer("langsfer", langsfer(sparse=False), {"guard": False}),
    "clp_plus": Peer("langsfer", langsfer(sparse=True), {}),
    "common_interpolation": Peer("mergekit", codes("interpolation"), {}, "overlap"),
    "focus": Peer("deepfocus", deepfocus, {}),
    "landmark_pca": Peer("mergekit", landmark_pca, {}, "overlap"),
    "omp": Peer("mergekit", codes("omp"), {}, "overlap"),
    "sparse_basis": Peer("mergekit", sparse_basis, {}, "overlap"),
    "subword": Peer("mergekit", subword, {"preset": "mean"}, "overlap"),
    "trans_tokenization": Peer("trans-tokenizers", trans_tokenizers, {}, "tokenizers, order of the vocabulary"),
    "wechsel": Peer("wechsel", wechsel, {}, "vectors of texts (look-up, for ours too)", looked_up),
}
