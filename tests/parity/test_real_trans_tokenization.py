"""`trans_tokenization` beside trans-tokenizers, on real tables, tokenizers and counts of words from parallel text."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

import real
from tokgraft import methods
from tokgraft.resources import Inputs
from tokgraft.resources.token_alignment import TokenAlignment, token_counts, word_pairs

pytestmark = pytest.mark.slow

reference = pytest.importorskip("transtokenizers.transtokenizers")

DELIMITER = "—"


@lru_cache
def pairs(size: int) -> Any:
    """Counts of linked words, which the resource makes of the parallel pages."""
    inputs = Inputs(corpus=real.corpus(), tokenizer=real.target_folder(size), base=real.base())
    found, _ = word_pairs(inputs, TokenAlignment.parse({}, "token_alignment"))
    old, new = real.vocabulary(), real.vocabulary(size)
    return {
        (right, left): count
        for (right, left), count in found.items()
        if not any(DELIMITER in side[number].surface for side, ids in ((new, right), (old, left)) for number in ids)
    }


def mapping(place: Path, size: int) -> list[Any]:
    """What the package makes of the counts: (token, [(source token, weight), ...]) for each id."""
    old, new = real.vocabulary(), real.vocabulary(size)
    lines = [
        f"{DELIMITER.join(old[n].surface for n in left)}\t{DELIMITER.join(new[n].surface for n in right)}\t-1.0\t{count}\n"
        for (right, left), count in pairs(size).items()
    ]
    (place / "pairs.tsv").write_text("".join(lines), encoding="utf-8")
    real.target(size).save_pretrained(place / "target")
    counts, _ = reference.map_tokens(str(place / "pairs.tsv"), str(place / "base"), str(place / "target"))
    found: list[Any] = reference.smooth_mapping(str(place / "target"), counts)
    return found


@pytest.mark.parametrize("size", real.SIZES)
def test_trans_tokenizers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """The tables of its own `remap_model`, tied and untied, in the mode that smooths as it does; by default other ones beside them.

    Its smoothing depends on the order of `get_vocab()`, which is another one in each process: here that of ids.
    """
    ordered: dict[int, Any] = {}  # with the tokenizer, so that no other one takes its place in memory
    vocab = PreTrainedTokenizerFast.get_vocab

    def in_order(self: Any) -> Any:
        if id(self) not in ordered:
            ordered[id(self)] = self, dict(sorted(vocab(self).items(), key=lambda item: item[1]))
        return ordered[id(self)][1]

    monkeypatch.setattr(PreTrainedTokenizerFast, "get_vocab", in_order)
    monkeypatch.setattr(PreTrainedTokenizerFast, "additional_special_tokens_ids", [], raising=False)  # as in transformers 4
    resource = {**dict(zip(("target", "source", "count"), token_counts(pairs(size), "published")))}
    resource["source_vocabulary"] = real.vocabulary().text_fingerprint
    E, U = real.tables()
    made: Any = None
    for tied in (True, False):
        folder = tmp_path / "base"
        real.write_model(folder, real.source(), E, None if tied else U)
        made = made or mapping(tmp_path, size)
        model = reference.remap_model(str(folder), str(tmp_path / "target"), made, str(folder))
        task = real.task(size, tied, token_alignment=resource)
        follows = methods.apply("trans_tokenization", task, {"compatibility": "trans-tokenizers"})
        texts = list(task.target.text_ids)
        for name, found, module in (("input", follows.input, "get_input_embeddings"), ("head", follows.output, "get_output_embeddings")):
            if found is not None:
                theirs = getattr(model, module)().weight.detach().numpy()
                what = f"trans_tokenization, trans-tokenizers 0.1.4, {size:,}, {'tied' if tied else 'untied'}, {name}"
                real.compare(what, found[texts], theirs[texts])
    ours = methods.apply("trans_tokenization", task, {})
    counted = set(np.unique(resource["target"]).tolist())
    alone = [n for n in texts if n not in counted and n not in task.overlap]
    assert ours.output is not None
    assert len(alone) > size / 10
    moved = real.differences(ours.output, theirs) > real.LIMIT
    same = [n for n in texts if (n in counted or n in task.overlap) and not task.target[n].text.strip().isdigit()]
    assert not moved[same].any()
    assert moved[alone].mean() > 0.5
    real.tell(f"    corrected: {moved[alone].sum():,} of {len(alone):,} smoothed rows, in which order has no part")
