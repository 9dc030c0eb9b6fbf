"""The GGUF format: metadata and tensors of a file that may be damaged or made to harm.

The file is parsed here, because the metadata holds about 10^5 strings and the general reader takes many times longer over them; blocks are
dequantised by the `gguf` package. Every count and size is compared with what the file holds before memory is taken for it.
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from tokgraft.errors import ModelError

DAMAGED = "the file is damaged or was cut off; fetch it again"
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY, FLOAT32 = 8, 9, 6
HEADER = 1 << 28  # bytes: header and table of any model lie well within it
ITEMS = 1 << 23  # of all arrays together: some times the tokens, types, scores and merges of the largest vocabularies
DIMENSIONS = 4  # most axes that the format knows
ALIGNMENT = 1 << 16

T = TypeVar("T", int, float, str, list[Any], bool)


@dataclass(frozen=True)
class Tensor:
    """Where a tensor lies in the file.

    Attributes:
        shape: In the order of axes that torch uses.
        kind: Number of its type in the format.
        offset: Of its first byte in the file.
        size: In bytes.
    """

    shape: tuple[int, ...]
    kind: int
    offset: int
    size: int


@dataclass(frozen=True)
class GgufFile:
    """Metadata and tensor table of a GGUF file."""

    path: Path
    metadata: dict[str, Any]
    tensors: dict[str, Tensor]

    @property
    def architecture(self) -> str:
        """Name of the architecture."""
        return self.value("general.architecture", str, "?")

    def value(self, key: str, kind: type[T], default: T | None = None) -> T:
        """An entry of the metadata; a whole number may stand for a float.

        Raises:
            ModelError: It is missing and has no default, or is of another type.
        """
        found = self.metadata.get(key, default)
        if found is None:
            raise ModelError(f"{self.path}: metadata {key} is missing", DAMAGED)
        if kind is float and type(found) is int:
            found = float(found)
        if type(found) is not kind:
            raise ModelError(f"{self.path}: metadata {key} is {str(found)[:60]!r}, which is no {kind.__name__}", DAMAGED)
        return found

    def size(self, key: str, default: int | None = None, most: int = 2**31 - 1) -> int:
        """An entry of the metadata that counts something: a whole number from 1 to `most`.

        Raises:
            ModelError: It is missing and has no default, of another type, or out of range.
        """
        found = self.value(key, int, default)
        if not 1 <= found <= most:
            raise ModelError(f"{self.path}: metadata {key} is {found}, which no such file can have (1 to {most})", DAMAGED)
        return found

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor.

        Raises:
            ModelError: The file has no such tensor.
        """
        if name not in self.tensors:
            raise ModelError(f"{self.path} has no tensor {name}", DAMAGED)
        return self.tensors[name].shape


def read_header(path: Path) -> GgufFile:
    """Parse metadata and tensor table; tensor data is not read.

    Raises:
        ModelError: Not a GGUF file of version 2 or 3, damaged, or its tensors do not lie in the file one beside the other.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"{path} does not exist", "give a .gguf file")
    try:
        size = path.stat().st_size
        with path.open("rb") as handle:
            metadata, table, end = _GgufParser(handle.read(HEADER), path).header()
        alignment = metadata.get("general.alignment", 32)
        if type(alignment) is not int or not 1 <= alignment <= ALIGNMENT:
            raise ValueError(f"an alignment of {alignment!r}")
        start = -(-end // alignment) * alignment
        tensors = {name: _tensor(shape, kind, start + offset) for name, (shape, kind, offset) in table.items()}
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from None
    except (struct.error, UnicodeDecodeError, IndexError, KeyError, ValueError, OverflowError) as error:
        raise ModelError(f"{path} cannot be read as GGUF ({type(error).__name__}: {error})", DAMAGED) from error
    # Tensors that share bytes would let a small file ask for any amount of memory.
    if any(tensor.offset + tensor.size > size for tensor in tensors.values()) or sum(t.size for t in tensors.values()) > size - start:
        raise ModelError(f"{path} is shorter than its own table of tensors says", DAMAGED)
    return GgufFile(path, metadata, tensors)


def read_tensor(file: GgufFile, name: str) -> npt.NDArray[np.float32]:
    """One tensor, dequantised, as float32 in the order of axes that torch uses.

    Raises:
        ModelError: Its type holds no floating-point numbers, or is one that the `gguf` package cannot dequantise.
    """
    from gguf import dequantize
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

    tensor = file.tensors[name]
    kind = GGMLQuantizationType(tensor.kind)
    block, size = GGML_QUANT_SIZES[kind]
    raw = np.fromfile(file.path, dtype=np.uint8, count=tensor.size, offset=tensor.offset)
    rows = raw.reshape(*tensor.shape[:-1], tensor.shape[-1] // block * size)
    values = {GGMLQuantizationType.F32: np.float32, GGMLQuantizationType.F16: np.float16}.get(kind)
    try:
        plain = rows.view(values) if values else dequantize(rows, kind)
    except NotImplementedError:
        raise ModelError(
            f"{file.path}: tensor {name} is stored as {kind.name}, which cannot be read as weights", "take another file of the model"
        ) from None
    return np.ascontiguousarray(plain.reshape(tensor.shape), dtype=np.float32)


def _tensor(shape: tuple[int, ...], kind: int, offset: int) -> Tensor:
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

    block, size = GGML_QUANT_SIZES[GGMLQuantizationType(kind)]
    if not 1 <= len(shape) <= DIMENSIONS or not all(shape) or shape[-1] % block:
        raise ValueError(f"a tensor of shape {shape} in blocks of {block}")
    return Tensor(shape, kind, offset, math.prod(shape) // block * size)


class _GgufParser:
    """Reads one value after the other from the first bytes of a file; whatever runs over their end is a ValueError or struct.error."""

    def __init__(self, blob: bytes, path: Path) -> None:
        self.blob, self.path = blob, path
        self.at = self.items = 0

    def header(self) -> tuple[dict[str, Any], dict[str, tuple[tuple[int, ...], int, int]], int]:
        """Metadata, tensor table (shape, type, offset from the data's start), and where the table ends."""
        if self.blob[:4] != b"GGUF":
            raise ModelError(f"{self.path} is not a GGUF file (it begins with {self.blob[:4]!r})", "give a .gguf file")
        self.at = 4
        version, tensors, keys = self.unpack("IQQ")
        if version not in (2, 3):
            raise ModelError(f"{self.path} is GGUF version {version}; versions 2 and 3 can be read", "convert it with a current exporter")
        metadata: dict[str, Any] = {}
        for _ in range(keys):
            key = self.string()
            if key in metadata:
                raise ValueError(f"the key {key[:60]!r} stands twice")
            metadata[key] = self.value(*self.unpack("I"))
        table: dict[str, tuple[tuple[int, ...], int, int]] = {}
        for _ in range(tensors):
            name = self.string()
            (dimensions,) = self.unpack("I")
            if name in table or dimensions > DIMENSIONS:
                raise ValueError(f"the tensor {name[:60]!r} stands twice, or has {dimensions} axes")
            shape = self.unpack(f"{dimensions}Q")
            kind, offset = self.unpack("IQ")
            table[name] = (shape[::-1], kind, offset)  # the format counts the fastest axis first
        return metadata, table, self.at

    def unpack(self, form: str) -> tuple[Any, ...]:
        found = struct.unpack_from(f"<{form}", self.blob, self.at)
        self.at += struct.calcsize(f"<{form}")
        return found

    def value(self, kind: int) -> Any:
        if kind == STRING:
            return self.string()
        if kind == ARRAY:
            return self.array()
        (value,) = self.unpack(SCALARS[kind])
        # 1e-05 as written by people, not 9.999999747378752e-06: the same float32. NaN and infinity are no JSON, hence errors.
        return float(json.loads(str(np.float32(value)))) if kind == FLOAT32 else value

    def array(self) -> list[Any]:
        inner, count = self.unpack("IQ")
        self.items += count
        least = 8 if inner == STRING else struct.calcsize(SCALARS[inner])  # arrays in arrays: a KeyError; no exporter writes them
        if self.items > ITEMS or count * least > len(self.blob) - self.at:
            raise ValueError(f"an array of {count} entries")
        return [self.string() for _ in range(count)] if inner == STRING else list(self.unpack(f"{count}{SCALARS[inner]}"))

    def string(self) -> str:
        (length,) = self.unpack("Q")
        end = self.at + length
        if end > len(self.blob):
            raise ValueError("a string runs over the end")
        text = self.blob[self.at : end].decode("utf-8")
        self.at = end
        return text
