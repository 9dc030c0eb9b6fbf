"""Apply a method to a model folder and write a complete adapted model.

The package can be called: `tokgraft.transplant(model=..., tokenizer=..., method=..., out=...)` is `tokgraft.transplant.run(...)`.
"""

from __future__ import annotations

import sys
import types
from typing import Any

from tokgraft.transplant._run import run

__all__ = ["run"]


class _Callable(types.ModuleType):
    """A module that can be called, because the package and its one function share their name."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return run(*args, **kwargs)


sys.modules[__name__].__class__ = _Callable
