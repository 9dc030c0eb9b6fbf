"""Products in bfloat16 as bounds: where a processor multiplies such matrices several times faster, they say what to look at in float32."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tokgraft.numerics.types import Floats

ROUNDING = 2.0**-8  # of a number to bfloat16, as a share of it


def is_fast() -> bool:
    """Whether the processor multiplies bfloat16 matrices faster than float32 ones (AMX, AVX-512 BF16)."""
    import torch

    return any(getattr(torch.cpu, name, bool)() for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"))


def narrow(values: npt.NDArray[np.floating]) -> Any:
    """A bfloat16 tensor of the same shape."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32)).bfloat16()


def rounded(values: npt.NDArray[np.floating]) -> Floats:
    """The nearest bfloat16 numbers, in float32."""
    found: Floats = narrow(values).float().numpy()
    return found


def product(left: Any, right: Any, held: Any) -> Any:
    """The product of two bfloat16 tensors, (n, d) and (d, m), summed in float32 and rounded; it stands in the first rows of `held`."""
    import torch

    return torch.mm(left, right, out=held[: len(left)])


def bits(values: Any) -> npt.NDArray[np.int16]:
    """A bfloat16 tensor read as integers, without a copy: numbers that are not negative are in their order, negative ones below them."""
    import torch

    found: npt.NDArray[np.int16] = values.view(torch.int16).numpy()
    return found


def bits_below(values: Floats) -> npt.NDArray[np.int16]:
    """Numbers that are not negative as bfloat16 numbers that are not larger, read as integers."""
    found: npt.NDArray[np.int16] = (values.view(np.uint32) >> 16).astype(np.int16)
    return found


def from_bits(found: npt.NDArray[np.int16]) -> Floats:
    """The numbers that bits stand for."""
    values: Floats = (found.astype(np.uint16).astype(np.uint32) << 16).view(np.float32)
    return values
