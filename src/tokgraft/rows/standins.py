"""Special tokens that stand in for each other: several of the target for one of the source, or one for several.

Of a source with `<|endoftext|>` alone, `<s>`, `</s>` and `<pad>` of the target all get the row. As input that is what they need. As output
rows three equal ones would have equal logits, and the lowest id would win: the model would write `<s>` where it ended a text. So
only one of them keeps the output row (`tokgraft.overlap.shared_sources`), and the others get one that is never the most likely.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tokgraft.numerics.sums import mean_row
from tokgraft.overlap import shared_sources
from tokgraft.rows.contract import Provenance, Rows, Transplant

SHARE = 0.25  # of the mean row, in a table that is input and output at once
BELOW = 20.0  # nats that the bias of a tied head is lowered by


def ending(task: Transplant, rows: Rows) -> Rows:
    """The rows with an end token that is predicted where the base ends a text.

    A target with one token for all roles (`<|endoftext|>`) is read like the base's begin token (`tokgraft.overlap`), whose output row is
    never the most likely: the model would not stop. So it is predicted like the base's end token; in a table that is input and output at
    once, it is the end token altogether. A token that the base has under the same string stays what it is.
    """
    end, number = task.source.roles.get("eos"), task.target.roles.get("eos")
    match = None if number is None else task.overlap.get(number)
    if end is None or number is None or match is None or match.source == end:
        return rows
    if match.level != "role" or task.source[match.source].text == task.target[number].text:
        return rows
    inputs, output, bias, made = rows.input, rows.output, rows.bias, list(rows.provenance)
    if output is not None:
        output = output.copy()
        output[number] = task.U[end]
    else:
        inputs = inputs.copy()
        inputs[number], made[number] = task.E[end], Provenance("role", (end,))
    if bias is not None and task.bias is not None:
        bias = bias.copy()
        bias[number] = task.bias[end]
    return replace(rows, input=inputs, output=output, bias=bias, provenance=tuple(made))


def stand_in(task: Transplant, rows: Rows) -> Rows:
    """The rows with stand-ins that cannot be predicted in the place of the token that they stand in for.

    A mean of rows has the mean of their logits, which is never above the largest; its probability is at most 1 / |Vt|. So the output row
    (and bias) of a stand-in is the mean of the new table. In a tied table the row must serve as input, too: its bias is lowered where the
    head has one, else the row moves a quarter of the way to the mean, and is never the most likely either. On SmolLM2 the stand-in of an
    end token then has 1/50 of its probability, and a short text that begins with it a loss that is higher by 0.01 to 0.1 nats per token.
    """
    shared = shared_sources(task.overlap, task.source, task.target)
    if not shared:
        return rows
    ids = np.array(list(shared), dtype=np.int64)
    others = np.array([number for number in task.target.ids if number not in shared], dtype=np.int64)
    inputs, output, bias = rows.input, rows.output, rows.bias
    if output is not None:
        output = output.copy()
        output[ids] = mean_row(output[others])
        if bias is not None:
            bias = bias.copy()
            bias[ids] = bias[others].mean(dtype=np.float64)
    elif bias is not None:
        bias = bias.copy()
        bias[ids] -= np.float32(BELOW)
    else:
        inputs = inputs.copy()
        inputs[ids] += SHARE * (mean_row(inputs[others]) - inputs[ids])
    made = list(rows.provenance)
    for number in ids.tolist():
        made[number] = Provenance("stand_in", made[number].sources)
    return replace(rows, input=inputs, output=output, bias=bias, provenance=tuple(made))
