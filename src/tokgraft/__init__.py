"""tokgraft: move a language model onto a new vocabulary, and measure which way of doing it is best."""

from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`tokgraft.transplant` on first use, so that `import tokgraft` stays light."""
    if name == "transplant":
        import importlib

        return importlib.import_module("tokgraft.transplant")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
