"""A training recipe: a schedule in stages."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from tokgraft.config import bounds
from tokgraft.config.base import ConfigFile, Strict

Part = Literal["embeddings", "head", "new_rows", "body", "all", "layers_odd", "layers_even", "layers_outer2"]

NEXT_TOKEN = "next_token"

Beta = Annotated[float, Field(ge=0, lt=1)]


class TrainingStage(Strict):
    """One stage: which parameters learn, for how many bytes of text, at which rate."""

    name: str = Field(description="Name in logs and curves.")
    train: list[Part] = Field(min_length=1, description="Parts that learn: embeddings (input table), head, new_rows (rows not copied), body, "
                              "layers_odd, layers_even, layers_outer2 (two lowest and two highest layers), all.")  # fmt: skip
    bytes: int = Field(gt=0, le=bounds.BYTES, description="Budget of this stage in UTF-8 bytes of text (replay included).")
    lr: float = Field(gt=0, le=100, description="Peak learning rate.")
    schedule: Literal["cosine", "linear", "constant"] = Field("cosine", description="Decay after the warm-up.")
    final_lr: float = Field(0.1, ge=0, le=1, description="Last learning rate, as a share of the peak.")
    warmup: float = Field(0.03, ge=0, lt=1, description="Share of the steps that warm up.")
    replay: float = Field(0.0, ge=0, lt=1, description="Share of the bytes that are English replay.")
    objective: str = Field(NEXT_TOKEN, description="Registered training objective: what the stage minimises.")


class Sampling(Strict):
    """Segmentations of the training text that are drawn at random (BPE and Unigram tokenizers)."""

    alpha: float = Field(
        1.0,
        gt=0,
        le=100,
        description="Exponent of a segmentation's probability: small draws from all alike, large takes the most probable.",
    )
    share: float = Field(1.0, gt=0, le=1, description="Share of the words that are drawn; the others are split as the tokenizer does.")
    fit_bytes: int = Field(
        2_000_000, gt=0, le=bounds.BYTES, description="Text of the corpus that the unigram model is fitted on, in bytes."
    )


class TrainingRecipe(ConfigFile):
    """One file of config/recipes/."""

    folder: ClassVar[str] = "recipes"
    kind: ClassVar[str] = "recipe"

    stages: list[TrainingStage] = Field(min_length=1, description="Stages, in order.")
    sequence_length: int = Field(128, ge=8, le=bounds.SIZE, description="Tokens of a packed sequence.")
    batch_size: int = Field(8, ge=1, le=bounds.SIZE, description="Sequences of a step (global, over all processes).")
    micro_batch_size: int | None = Field(
        None, ge=1, le=bounds.SIZE, description="Sequences of one forward pass (default: the batch of the process)."
    )
    sampling: Sampling | None = Field(
        None,
        description="Draw segmentations from a unigram model of the corpus instead of splitting every word alike (replay is not drawn).",
    )
    weight_decay: float = Field(0.01, ge=0, le=100, description="Weight decay of matrices; embeddings, norms and biases have none.")
    betas: tuple[Beta, Beta] = Field((0.9, 0.95), description="AdamW betas, each from 0 to below 1.")
    clip: float = Field(1.0, gt=0, le=1e9, description="Gradient norm is clipped to this.")
    validations: int = Field(
        5, ge=1, le=bounds.TIMES, description="How often the dev pages are scored, evenly over the whole run (the end included)."
    )
    validation_bytes: int = Field(20_000, gt=0, le=bounds.BYTES, description="Bytes of dev text per validation.")
    checkpoints: int = Field(5, ge=0, le=bounds.TIMES, description="How many resumable checkpoints are written, evenly over the run.")
    compile: bool | None = Field(None, description="torch.compile (default: on CUDA only).")
    gradient_checkpointing: bool = Field(
        False, description="Recompute activations in the backward pass: less memory, about a third slower."
    )
    dtype: Literal["auto", "float32", "bfloat16"] = Field("auto", description="auto: bfloat16 autocast on CUDA, float32 on CPU.")
    description: str = Field("", description="What it is for and where its numbers come from.")

    def canonical(self) -> dict[str, Any]:
        """As for every file, without `sampling` and `objective` where they say nothing: recipes keep the hash they had before."""
        found = super().canonical()
        for stage in found["stages"]:
            if stage["objective"] == NEXT_TOKEN:
                del stage["objective"]
        if self.sampling is None:
            del found["sampling"]
        return found
