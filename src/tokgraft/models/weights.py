"""What a folder's safetensors files say they hold, looked at before transformers opens them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from tokgraft import jsonl
from tokgraft.errors import ModelError

PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle")
CONVERT = (
    "convert it in a sandbox with model.save_pretrained(folder, safe_serialization=True), or take the safetensors revision of the model; "
    "pickled weights can run any code and are never opened here"
)
AGAIN = "the files do not belong together or are damaged; fetch the model again"
FLOATS = {"F64", "F32", "F16", "BF16"}
INDEX = "*.safetensors.index.json"


def check_folder(folder: Path) -> int:
    """Refuse a model folder whose weights cannot be read safely or as they are meant; only headers are read.

    Returns:
        How many numbers its tensors hold.

    Raises:
        ModelError: No folder, no config, pickled weights only, an index that names files elsewhere, a damaged file, or weights stored as
            integers or 8-bit floats (read as plain numbers, without the scales that belong to them, they are another model).
    """
    if not folder.is_dir():
        raise ModelError(f"model folder {folder} does not exist", "give a folder with config.json and model.safetensors, or a .gguf file")
    if not (folder / "config.json").is_file():
        ggufs = sorted(path.name for path in folder.glob("*.gguf"))
        hint = f"give the file itself: {folder / ggufs[0]}" if ggufs else "give a folder as save_pretrained writes it"
        raise ModelError(f"{folder} holds no config.json", hint)
    _check_config(folder / "config.json")
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        pickles = sorted(path.name for pattern in PICKLES for path in folder.glob(pattern))
        if pickles:
            raise ModelError(f"{folder} holds only pickled weights ({', '.join(pickles[:3])})", CONVERT)
        raise ModelError(f"{folder} holds no weights (*.safetensors)", "the download or export is incomplete")
    for index in sorted(folder.glob(INDEX)):
        _check_index(index)
    return sum(map(_check_file, files))


def stored_dtype(folder: Path) -> str:
    """The floating type that most numbers of a folder's weights are stored in: "float32", "bfloat16" or "float16"; float32 for a GGUF file,
    whose numbers are dequantised, and for float64.
    """
    from safetensors import safe_open

    counts = dict.fromkeys(FLOATS, 0)
    for path in sorted(folder.glob("*.safetensors")) if folder.is_dir() else ():
        with safe_open(path, "np") as tensors:
            for name in tensors.keys():  # noqa: SIM118 (it is no dict)
                part = tensors.get_slice(name)
                if part.get_dtype() in counts:
                    counts[part.get_dtype()] += math.prod(part.get_shape())
    return {"BF16": "bfloat16", "F16": "float16"}.get(max(counts, key=lambda kind: (counts[kind], kind)), "float32")


def _check_config(path: Path) -> None:
    weights = jsonl.read_object(path, AGAIN, error=ModelError).get("transformers_weights", "model.safetensors")
    if not isinstance(weights, str) or Path(weights).name != weights or not weights.endswith((".safetensors", INDEX[1:])):
        raise ModelError(f"{path} names {weights!r} as its weights", "only safetensors files of the same folder are read")


def _check_index(path: Path) -> None:
    named: Any = jsonl.read_object(path, AGAIN, error=ModelError).get("weight_map")
    if not isinstance(named, dict) or not named:
        raise ModelError(f"{path} has no weight_map", AGAIN)
    for name in sorted(set(map(str, named.values()))):
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise ModelError(f"{path} names {name!r}, which is no safetensors file of its folder", "files elsewhere are not read")
        if not (path.parent / name).is_file():
            raise ModelError(f"{path} names {name}, which is missing", "the download or export is incomplete")


def _check_file(path: Path) -> int:
    from safetensors import safe_open

    total = 0
    try:
        with safe_open(path, "np") as tensors:
            for name in tensors.keys():  # noqa: SIM118 (it is no dict)
                part = tensors.get_slice(name)
                kind, shape = part.get_dtype(), part.get_shape()
                if name.endswith(("weight", "weight_packed", "blocks")) and kind not in FLOATS:
                    raise ModelError(
                        f"{path}: {name} is stored as {kind}: a quantised model, whose numbers mean nothing without their scales",
                        "take the model's unquantised revision (float32, bfloat16 or float16), or a GGUF file of it",
                    )
                total += math.prod(shape)
    except ModelError:
        raise
    except Exception as error:  # SafetensorError, and what the operating system says of a file that cannot be read
        raise ModelError(f"{path} cannot be read: {error}", AGAIN) from None
    return total
