"""One body that reads two languages and writes one: input rows of the target and of the source vocabulary, a head for the target's only.

Remy et al., *Trans-Tokenization and Cross-lingual Vocabulary Transfers* (arXiv:2408.04303): a hydra translates what is given
in source tokens into target tokens.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tokgraft import artifacts, jsonl
from tokgraft.errors import ModelError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

FACTS = "hydra.json"
SOURCE = "source_tokenizer"
LIBRARIES = ("safetensors", "tokenizers", "torch", "transformers")


@dataclass(frozen=True)
class Hydra:
    """A loaded hydra.

    Attributes:
        model: Its input table has `offset` target rows and then the source's; its logits are over the target's rows only.
        target: The target tokenizer.
        source: The source tokenizer.
        offset: What is added to a source id to make it an input id.
    """

    model: PreTrainedModel
    target: PreTrainedTokenizerFast
    source: PreTrainedTokenizerFast
    offset: int

    def source_ids(self, text: str) -> list[int]:
        """Input ids of a text in the source language, without special tokens."""
        return [number + self.offset for number in self.source.encode(text, add_special_tokens=False)]


def export(adapted: Path, base: Path, out: Path) -> Path:
    """Write the hydra of an adapted (and trained) model and of the base that it was made from.

    The body and the head are the adapted model's. transformers alone cannot load the folder, whose two tables differ in size; `load` can.
    In training, labels at source ids are -100.

    Args:
        adapted: Model folder with the target tokenizer.
        base: Model folder with the source tokenizer.
        out: Folder to write.

    Raises:
        ModelError: The folders hold no causal language models of one width, or the head has a bias.
    """
    import torch

    from tokgraft.models.io import embedding_tables, head_bias, load_model, load_tokenizer, save_model
    from tokgraft.models.tables import further_columns
    from tokgraft.models.weights import stored_dtype
    from tokgraft.vocab import Vocabulary

    begun = artifacts.begin(out, "hydra", {"model": adapted, "base": base})
    target, source = load_tokenizer(adapted), load_tokenizer(base)
    model = load_model(adapted)
    rows, _ = embedding_tables(load_model(base))
    rows = rows[: len(Vocabulary.from_tokenizer(source))]
    inputs, outputs = embedding_tables(model)
    if inputs.shape[1] != rows.shape[1]:
        raise ModelError(
            f"{base} has rows of {rows.shape[1]} numbers, {adapted} of {inputs.shape[1]}", "give the base of the adapted model"
        )
    if head_bias(model) is not None or model.config.is_encoder_decoder or "CausalLM" not in type(model).__name__:
        raise ModelError(f"{type(model).__name__}: only causal language models without a bias on the head are supported", "choose another")
    if further_columns(model) is not None:
        raise ModelError(f"{type(model).__name__} has tables beside input and output table: a hydra of it cannot be made", "choose another")
    table = torch.cat([torch.from_numpy(inputs), torch.from_numpy(rows)])
    head = torch.nn.Parameter(torch.from_numpy(inputs if outputs is None else outputs))
    _untie(model, table, head)
    with artifacts.create(out, "hydra", {"offset": len(inputs)}, begun, LIBRARIES) as folder:
        save_model(model, target, folder, stored_dtype(adapted))
        source.save_pretrained(folder / SOURCE)
        text = json.dumps({"offset": len(inputs), "source_rows": len(rows)}, indent=1, sort_keys=True) + "\n"
        (folder / FACTS).write_text(text, encoding="utf-8")
    return out


def load(folder: Path) -> Hydra:
    """Read a hydra, in float32 and eval mode.

    Raises:
        ArtifactError: The folder holds none.
        ModelError: A weight is missing, or has another shape.
    """
    import torch
    from safetensors.torch import load_file
    from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

    from tokgraft.models.io import load_tokenizer

    artifacts.expect(folder, "hydra")
    facts = jsonl.read_object(folder / FACTS, "export the hydra again")
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, trust_remote_code=False)
    rows = facts["offset"] + facts["source_rows"]
    _untie(model, torch.empty(rows, model.get_input_embeddings().weight.shape[1]), model.get_output_embeddings().weight)
    try:
        model.load_state_dict(load_file(folder / "model.safetensors"))
    except RuntimeError as error:
        raise ModelError(f"{folder}: {str(error).splitlines()[-1].strip()}", "export the hydra again") from None
    model.generation_config = GenerationConfig.from_pretrained(folder, local_files_only=True)
    return Hydra(model.eval(), load_tokenizer(folder), load_tokenizer(folder / SOURCE), facts["offset"])


def _untie(model: PreTrainedModel, table: torch.Tensor, head: torch.nn.Parameter) -> None:
    """Give the model an input table and a head of their own; the vocabulary size stays the head's."""
    from torch.nn import Embedding, Parameter

    model.config.get_text_config().tie_word_embeddings = False
    model.config.tie_word_embeddings = False
    model.get_output_embeddings().weight = head
    inputs = Embedding(table.shape[0], table.shape[1])
    inputs.weight = Parameter(table)
    model.set_input_embeddings(inputs)
