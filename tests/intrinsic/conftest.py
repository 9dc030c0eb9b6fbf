"""Tokenizers small enough to count by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from tokgraft.intrinsic.inputs import Subject
from tokgraft.token_strings import TO_CHARACTER

MakeSubject = Callable[..., Subject]


@pytest.fixture
def subject(tmp_path: Path) -> MakeSubject:
    """A byte-level BPE tokenizer that knows the 256 bytes and the given words, built from the left."""

    def make(*words: str, name: str = "toy", split: bool = False, specials: Sequence[str] = ("<s>",)) -> Subject:
        vocabulary = {token: place for place, token in enumerate([*specials, *(TO_CHARACTER[byte] for byte in range(256))])}
        merges = []
        for word in words:
            symbols = [TO_CHARACTER[byte] for byte in word.encode()]
            for end in range(2, len(symbols) + 1):
                token = "".join(symbols[:end])
                if token not in vocabulary:
                    vocabulary[token] = len(vocabulary)
                    merges.append(("".join(symbols[: end - 1]), symbols[end - 1]))
        backend = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=split)
        backend.decoder = decoders.ByteLevel()
        backend.add_special_tokens(list(specials))
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        backend.save(str(folder / "tokenizer.json"))
        (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": specials[0]}))
        return Subject.load(folder, name)

    return make
