"""`mean` beside an independent computation, `multivariate` beside the statistics that transformers uses."""

from __future__ import annotations

import numpy as np
import torch

import toys
import toytasks
from tokgraft import methods
from tokgraft.methods.multivariate import gaussian


def test_mean_is_the_mean_over_what_the_tokenizer_writes() -> None:
    source, target = toys.tokenizer("byte_level"), toys.tokenizer("byte_level", 1200, "both")
    task = toytasks.task("mean", source, target, tied=False)
    rows = methods.apply("mean", task, {})
    table = source.get_vocab()
    checked = 0
    for surface, number in target.get_vocab().items():
        if number in task.target.special_ids:
            continue
        if surface in table:  # both are byte-level: equal strings are equal bytes
            expected = [table[surface]]
        else:
            text = target.convert_tokens_to_string([surface])
            if "�" in text:
                continue
            expected = source.encode(text, add_special_tokens=False)
        naive = [sum(matrix[piece].astype(float) for piece in expected) / len(expected) for matrix in (task.E, task.U)]
        assert np.allclose(rows.input[number], naive[0], rtol=1e-6, atol=1e-6), surface
        assert rows.output is not None and np.allclose(rows.output[number], naive[1], rtol=1e-6, atol=1e-6), surface
        checked += 1
    assert checked > 900


def test_multivariate_has_the_statistics_of_transformers() -> None:
    """`_init_added_embeddings_weights_with_mean`: covariance divided by n, scaled by 1e-9, drawn around the mean."""
    table = toytasks.table(400, 16)
    mean, factor = gaussian(table, np.arange(400))
    tensor = torch.from_numpy(table)
    centred = tensor - tensor.mean(dim=0)
    assert np.allclose(mean, tensor.mean(dim=0), atol=1e-6)
    assert np.allclose(factor @ factor.T, centred.T @ centred / 400, rtol=1e-4, atol=1e-6)


def test_multivariate_draws_match_a_resize_by_transformers() -> None:
    source, target = toys.tokenizer("byte_level"), toys.tokenizer("byte_level", 1200, "both")
    task = toytasks.task("multivariate", source, target)
    rows = methods.apply("multivariate", task, {"eps": 1e-2, "copy_overlap": False})
    drawn = [number for number, made in enumerate(rows.provenance) if made.how == "random"]
    deviation = (rows.input[drawn] - task.E.mean(axis=0)) / 0.1
    assert np.abs(deviation.mean(axis=0)).max() < 5 * task.E.std() / np.sqrt(len(drawn))
    own, drawn_covariance = np.cov(task.E.T), np.cov(deviation.T)
    assert np.abs(own - drawn_covariance).max() < 0.15
    model = toys.decoder(len(source), True)
    with torch.no_grad():
        model.get_input_embeddings().weight.copy_(torch.from_numpy(task.E))
    model.resize_token_embeddings(len(source) + 200, mean_resizing=True)
    theirs = model.get_input_embeddings().weight.detach().numpy()[len(source) :]
    tiny = methods.apply("multivariate", task, {"eps": 1e-9, "copy_overlap": False}).input[drawn]
    assert np.abs(theirs.mean(axis=0) - tiny.mean(axis=0)).max() < 1e-4
    assert len({row.tobytes() for row in tiny}) == len(tiny), "no two rows are the same"
