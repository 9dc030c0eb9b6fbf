"""How often Python looks for garbage: rarely, where very many objects are made that stay."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

# A look at the youngest objects after so many new ones; at older ones after 20 looks each.
THRESHOLDS = (50_000, 20, 20)


@contextmanager
def rarely_collected() -> Iterator[None]:
    """Look for garbage rarely inside; also a decorator.

    Vocabularies are hundreds of thousands of small objects without cycles, and each full look walks over all of them: a third of the CPU seconds
    of a transplant to 150,000 tokens, for nothing. Arrays and models are freed by their reference counts as always.
    """
    before = gc.get_threshold()
    gc.set_threshold(*THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)
