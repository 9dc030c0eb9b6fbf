"""Small random models of every causal and masked language model class that transformers has, and what a transplant makes of them.

`python -m tests.models.architectures` writes the table of docs/architectures.md.
"""

from __future__ import annotations

import copy
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from tests import toys
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, MODEL_FOR_MASKED_LM_MAPPING_NAMES

import tokgraft
from tokenizers import Tokenizer
from tokgraft.errors import TokgraftError
from tokgraft.models.io import save_model

DOCS = Path(__file__).parents[2] / "docs" / "architectures.md"
BEGIN, END = "<!-- table:begin -->", "<!-- table:end -->"
LARGEST = 20e6  # parameters of a model that is still small
LAYERS = 4

# What keys of configs are set to, where a config has them as a number.
SMALL: dict[str, int] = {
    **dict.fromkeys(("hidden_size", "d_model", "n_embd", "dim", "embedding_size", "emb_dim", "embed_dim", "lru_width", "word_embed_proj_dim"), 32),
    **dict.fromkeys(
        ("intermediate_size", "ffn_dim", "d_ff", "n_inner", "encoder_ffn_dim", "decoder_ffn_dim", "ffn_hidden_size", "hidden_dim"), 48
    ),
    **dict.fromkeys(("dense_intermediate_size", "d_inner"), 48),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size"), 16),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers", "decoder_layers"), LAYERS),
    **dict.fromkeys(
        ("num_attention_heads", "n_head", "n_heads", "num_heads", "encoder_attention_heads", "decoder_attention_heads", "attention_heads"), 4
    ),
    **dict.fromkeys(("num_key_value_heads", "num_kv_heads"), 2),
    **dict.fromkeys(("head_dim", "d_kv", "attention_head_size", "rotary_dim", "qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim"), 8),
    **dict.fromkeys(("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "moe_topk"), 2),
    **dict.fromkeys(("n_shared_experts", "n_group", "topk_group"), 1),
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank"), 16),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "seq_length"), 128),
    **dict.fromkeys(("state_size", "mamba_d_state", "ssm_state_size"), 8),
    **dict.fromkeys(("time_step_rank", "mamba_n_heads", "mamba_num_heads", "linear_num_value_heads"), 4),
    **dict.fromkeys(("mamba_d_head", "mamba_head_dim"), 16),
    **dict.fromkeys(("linear_num_key_heads",), 2),
    **dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim"), 8),
    **dict.fromkeys(("sliding_window", "attention_window_size"), 32),
    "num_kv_shared_layers": 0, "hidden_size_per_layer_input": 8, "pronunciation_embed_dim": 8, "shape_embed_dim": 8,
}  # fmt: skip
# What single architectures need beside it, to be consistent.
MORE: dict[str, dict[str, Any]] = {
    "deepseek_v2": {"num_experts_per_tok": 2},
    "granitemoehybrid": {"layer_types": ["mamba", "attention"] * (LAYERS // 2)},
    "hunyuan_v1_dense": {"head_dim": 8},
    "hunyuan_v1_moe": {"head_dim": 8},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * (LAYERS // 2)},
    "ministral": {"head_dim": 8},
    "mobilebert": {"embedding_size": 16},
    "nemotron": {"num_key_value_heads": 2},
    "bamba": {"attn_layer_indices": [1], "mamba_n_heads": 4, "mamba_d_head": 16},
    "falcon_h1": {"mamba_d_ssm": 64, "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_expand": 2},
    "gpt_neo": {"attention_types": [[["global", "local"], LAYERS // 2]]},
    "mamba2": {"num_heads": 8, "head_dim": 8},
    "nemotron_h": {"n_groups": 2, "mamba_num_heads": 4, "mamba_head_dim": 16},
}


@dataclass(frozen=True)
class Kind:
    """A class of models and the architecture that it is for."""

    architecture: str
    name: str

    def __str__(self) -> str:
        return f"{self.architecture}-{self.name}"


class Unbuilt(Exception):
    """No small model of this kind could be made here, or it does not run on its own."""


def kinds() -> Iterator[Kind]:
    """Every causal and masked language model class of transformers."""
    seen = set()
    for mapping in (MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, MODEL_FOR_MASKED_LM_MAPPING_NAMES):
        for architecture, names in mapping.items():
            for name in [names] if isinstance(names, str) else names:
                if (kind := Kind(architecture, name)) not in seen:
                    seen.add(kind)
                    yield kind


def build(kind: Kind, rows: int, **ids: int) -> Any:
    """A small random model.

    Raises:
        Unbuilt: See there.
    """
    try:
        made = _build(kind, rows, ids)
        type(made.config).from_dict(made.config.to_dict())  # some sizes only fail when they are read again
        with torch.no_grad():
            logits = made(input_ids=torch.tensor([[5, 6, 7, 8]])).logits
    except Unbuilt:
        raise
    except Exception as error:  # whatever a config or a class finds wrong with the small sizes
        lines = str(error).splitlines() or [""]
        raise Unbuilt(f"{type(error).__name__}: {lines[0][:150]}") from error
    if logits.shape[-1] < rows or not torch.isfinite(logits).all():
        raise Unbuilt("its logits are not finite")
    return made


def _build(kind: Kind, rows: int, ids: dict[str, int]) -> Any:
    cls, config_class = getattr(transformers, kind.name), transformers.CONFIG_MAPPING[kind.architecture]
    causal = kind.name in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()
    config = _config(config_class, kind.architecture, rows, ids, causal)
    with torch.device("meta"):
        size = sum(parameter.numel() for parameter in cls(config).parameters())
    if size > LARGEST:
        raise Unbuilt(f"{size / 1e6:.0f} million parameters")
    torch.manual_seed(0)
    model = cls(config)
    for parameter in model.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.5)  # a bias or a scale that starts at zero hides what it stands before
    return model.eval()


def _config(config_class: Any, architecture: str, rows: int, ids: dict[str, int], causal: bool) -> Any:
    usual = config_class()
    small = {key: value for key, value in SMALL.items() if _has_number(usual, key)}
    if "kv_lora_rank" in small and "num_key_value_heads" in small:
        small["num_key_value_heads"] = small["num_attention_heads"]
    if _has_number(usual, "vocab_size_per_layer_input"):
        small["vocab_size_per_layer_input"] = rows
    small |= _layers(usual)
    ids = {key: number for key, number in ids.items() if hasattr(usual, key) or key != "mask_token_id"}
    if hasattr(usual, "is_decoder") and causal:
        small["is_decoder"] = True  # else an encoder, which sees what it is to predict
    given = {**small, **ids, **MORE.get(architecture, {})}
    try:
        config = config_class(vocab_size=rows, **given)
    except Exception:
        config = usual
        _shrink(config, given | {"vocab_size": rows})
    for nested in vars(config).values():
        if hasattr(nested, "model_type"):
            _shrink(nested, {key: value for key, value in SMALL.items() if _has_number(nested, key)} | _layers(nested))
    text = config.get_text_config()
    if text is not config:
        _shrink(text, {"vocab_size": rows, **ids})
    for other in (config, text):
        for key in [key for key in vars(other) if key.endswith("_token_id") and key not in ids]:
            if isinstance(getattr(other, key), int) and getattr(other, key) >= rows:
                _shrink(other, {key: rows - 1})
    return config


def _layers(config: Any) -> dict[str, Any]:
    """Every type of layer that the architecture has, where it has several."""
    types = list(dict.fromkeys(getattr(config, "layer_types", None) or ()))
    return {"layer_types": [types[place % len(types)] for place in range(LAYERS)]} if len(types) > 1 else {}


def _has_number(config: Any, key: str) -> bool:
    try:
        return type(getattr(config, key, None)) is int
    except Exception:  # some attributes differ by layer, and say so with an error of their own
        return False


def _shrink(config: Any, given: dict[str, Any]) -> None:
    for key, value in given.items():
        try:
            setattr(config, key, value)
        except Exception:  # a config that checks itself does not take every size
            continue


def tokenizers(place: Path) -> tuple[Any, Path]:
    """A tokenizer, and the folder of one with the same tokens in another order. The pad token keeps its id: some encoders count positions from it."""
    tokenizer = copy.deepcopy(toys.tokenizer("byte_level"))
    order = [number for number in toys.permuted(tokenizer)[1] if number != tokenizer.pad_token_id]
    order.insert(tokenizer.pad_token_id, tokenizer.pad_token_id)
    new = {old: number for number, old in enumerate(order)}
    spec = json.loads(tokenizer.backend_tokenizer.to_str())
    spec["model"]["vocab"] = {token: new[number] for token, number in spec["model"]["vocab"].items()}
    for entry in spec["added_tokens"]:
        entry["id"] = new[entry["id"]]
    spec["added_tokens"].sort(key=lambda entry: entry["id"])
    tokenizer.mask_token = "<|tool|>"
    names = {key: getattr(tokenizer, key) for key in ("bos_token", "eos_token", "pad_token", "mask_token")}
    transformers.PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(spec)), **names).save_pretrained(place / "new")
    return tokenizer, place / "new"


def outcome(kind: Kind, place: Path) -> tuple[str, str]:
    """What becomes of a small model of this kind when its vocabulary is permuted: "right", "refused" or "not tried", and why.

    "right": the gate has compared the logits of every token with the base's.

    Args:
        kind: The kind.
        place: A folder for its files.
    """
    tokenizer, new = tokenizers(place)
    ids = {f"{role}_token_id": getattr(tokenizer, f"{role}_token_id") for role in ("bos", "eos", "pad", "mask")}
    try:
        model = build(kind, len(tokenizer), **ids)
    except Unbuilt as error:
        return "not tried", str(error)
    try:
        save_model(model, tokenizer, place / "base")
        out = tokgraft.transplant(model=place / "base", tokenizer=new, method="mean", out=place / "out")
    except TokgraftError as error:
        return "refused", error.what
    columns = json.loads((out / "transplant.json").read_text())["gate"]["columns"]
    return ("right", "") if columns == len(tokenizer) else ("refused", f"{columns} logits were compared")


def recorded() -> dict[str, str]:
    """Kind -> outcome, as docs/architectures.md has it."""
    text = DOCS.read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in text[text.index(BEGIN) : text.index(END)].splitlines() if line.startswith("| `")]
    return {row[0].strip("`"): row[1] for row in rows}


def table() -> Iterator[str]:
    """Lines of the table in docs/architectures.md."""
    yield from (BEGIN, "| architecture and class | outcome | why |", "|---|---|---|")
    for kind in sorted(kinds(), key=str):
        place = Path(tempfile.mkdtemp())
        try:
            what, why = outcome(kind, place)
        except Exception as error:  # a defect: the test of this kind fails, the others are told
            what, why = "crash", f"{type(error).__name__}: {error}"
        shutil.rmtree(place)
        print(kind, what, why, file=sys.stderr, flush=True)
        shown = why.replace(str(place), "the folder").replace("|", "/").replace("\n", " ")
        yield f"| `{kind}` | {what} | {shown[:160]} |"
    yield END


if __name__ == "__main__":
    transformers.logging.set_verbosity(50)
    page = DOCS.read_text(encoding="utf-8")
    DOCS.write_text(page[: page.index(BEGIN)] + "\n".join(table()) + page[page.index(END) + len(END) :], encoding="utf-8")
