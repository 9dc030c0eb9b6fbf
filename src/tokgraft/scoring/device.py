"""Where a model runs."""

from __future__ import annotations

from tokgraft.errors import ConfigError


def find_device(name: str) -> str:
    """The device of a name; `auto` is CUDA when there is one.

    Raises:
        ConfigError: CUDA was asked for, and torch sees none.
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"device {name} was asked for, but torch sees no GPU", "use --device cpu, or install the CUDA build of torch")
    return name
