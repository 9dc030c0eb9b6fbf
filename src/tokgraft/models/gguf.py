"""Read GGUF files: plain float32 weights and a tokenizer that splits text as the published one does.

The file is parsed here, because the metadata holds about 10^5 strings and the general reader takes many times longer over them;
blocks are dequantised by the `gguf` package. Llama-shaped models are built directly, other architectures go through transformers.
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tokgraft.errors import ModelError, TokenizerError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

DAMAGED = "the file is damaged or was cut off; fetch it again"
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY, FLOAT32 = 8, 9, 6
CONTROL, USER_DEFINED = 3, 4  # token types

# Names of `tokenizer.ggml.pre` whose published tokenizer isolates every digit and then splits like GPT-2.
DIGITS_THEN_GPT2 = {"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"}
PLAIN_GPT2 = {"gpt-2", "mpt", "olmo", "jais", "phi-2", "gigachat"}

LLAMA_NAMES = {
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
}  # fmt: skip
LLAMA_TOP = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}


@dataclass(frozen=True)
class Tensor:
    """Where a tensor lies in the file."""

    shape: tuple[int, ...]
    kind: int
    offset: int


@dataclass(frozen=True)
class GgufFile:
    """Metadata and tensor table of a GGUF file."""

    path: Path
    metadata: dict[str, Any]
    tensors: dict[str, Tensor]

    @property
    def architecture(self) -> str:
        """Name of the architecture."""
        return str(self.metadata.get("general.architecture", "?"))


def read_header(path: Path) -> GgufFile:
    """Parse metadata and tensor table; tensor data is not read.

    Raises:
        ModelError: Not a GGUF file of version 2 or 3, or shorter than its tensor table says.
    """
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

    path = Path(path)
    if not path.is_file():
        raise ModelError(f"{path} does not exist", "give a .gguf file")
    try:
        with path.open("rb") as handle:
            metadata, table = _parse(handle.read(_header_limit(path)), path)
        start = table.pop("")[2]
        tensors = {name: Tensor(shape, kind, start + offset) for name, (shape, kind, offset) in table.items()}
        for tensor in tensors.values():
            block, size = GGML_QUANT_SIZES[GGMLQuantizationType(tensor.kind)]
            if tensor.offset + math.prod(tensor.shape) // block * size > path.stat().st_size:
                raise ModelError(f"{path} is shorter than its own table of tensors says", DAMAGED)
    except (struct.error, UnicodeDecodeError, IndexError, KeyError, ValueError) as error:
        raise ModelError(f"{path} cannot be read as GGUF ({type(error).__name__}: {error})", DAMAGED) from error
    return GgufFile(path, metadata, tensors)


def read_tensor(file: GgufFile, name: str) -> npt.NDArray[np.float32]:
    """One tensor, dequantised, as float32 in the order of axes that torch uses."""
    from gguf import dequantize
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

    tensor = file.tensors[name]
    kind = GGMLQuantizationType(tensor.kind)
    block, size = GGML_QUANT_SIZES[kind]
    count = math.prod(tensor.shape) // block * size
    raw = np.fromfile(file.path, dtype=np.uint8, count=count, offset=tensor.offset)
    rows = raw.reshape(*tensor.shape[:-1], tensor.shape[-1] // block * size)
    values = {GGMLQuantizationType.F32: np.float32, GGMLQuantizationType.F16: np.float16}.get(kind)
    plain = rows.view(values) if values else dequantize(rows, kind)
    return np.ascontiguousarray(plain.reshape(tensor.shape), dtype=np.float32)


def load_gguf_model(path: Path) -> PreTrainedModel:
    """A plain float32 model in eval mode; nothing in it tells that it was quantised.

    Raises:
        ModelError: The file is damaged, its architecture is not known, or its positions are scaled (the factors would be lost).
    """
    file = read_header(path)
    if "rope_freqs.weight" in file.tensors or file.metadata.get(f"{file.architecture}.rope.scaling.type", "none") != "none":
        raise ModelError(f"{file.path}: scaled rotary positions cannot be read from GGUF", "take the safetensors of this model instead")
    known = {f"{stem}.weight" for stem in LLAMA_TOP} | {
        f"blk.{layer}.{stem}.weight" for layer in range(int(file.metadata.get("llama.block_count", 0))) for stem in LLAMA_NAMES
    }
    if file.architecture == "llama" and set(file.tensors) <= known:
        return _llama(file)
    return _other(file)


def load_gguf_tokenizer(path: Path) -> PreTrainedTokenizerFast:
    """The tokenizer in a GGUF file.

    Byte-level BPE is rebuilt with the pre-tokenizer that `tokenizer.ggml.pre` stands for; other kinds are converted by transformers.

    Raises:
        TokenizerError: It cannot be rebuilt faithfully.
        ModelError: The file is damaged.
    """
    file = read_header(path)
    kind, pre = file.metadata.get("tokenizer.ggml.model"), file.metadata.get("tokenizer.ggml.pre", "default")
    if kind == "gpt2" and pre in DIGITS_THEN_GPT2 | PLAIN_GPT2:
        return _byte_level_bpe(file, digits=pre in DIGITS_THEN_GPT2)
    from transformers import AutoTokenizer

    if kind == "gpt2":
        from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

        if pre not in GGUF_PRE_TOKENIZER_SPLITS:
            raise TokenizerError(f"{path}: pre-tokenizer {pre!r} is not known", "give the published tokenizer's folder with --tokenizer")
    try:
        return AutoTokenizer.from_pretrained(str(path.parent), gguf_file=path.name, local_files_only=True)
    except Exception as error:  # anything from KeyError to a bare Exception of the Rust side
        raise TokenizerError(
            f"{path}: its tokenizer ({kind}) cannot be read: {error}", "give the published folder with --tokenizer"
        ) from error


def _llama(file: GgufFile) -> PreTrainedModel:
    """Build a Llama from its tensors; equal to the last bit to what transformers makes of the file."""
    import torch
    from transformers import LlamaForCausalLM

    model = _skeleton(LlamaForCausalLM, _llama_config(file))
    heads, kv_heads = model.config.num_attention_heads, model.config.num_key_value_heads
    state = {}
    for name in file.tensors:
        stem = name.removesuffix(".weight").split(".")
        target = LLAMA_TOP[stem[0]] if len(stem) == 1 else f"model.layers.{stem[1]}.{LLAMA_NAMES[stem[2]]}"
        values = read_tensor(file, name)
        if stem[-1] in ("attn_q", "attn_k"):
            values = _unpermute(values, heads if stem[-1] == "attn_q" else kv_heads)
        state[f"{target}.weight"] = torch.from_numpy(values)
    missing, unexpected = model.load_state_dict(state, strict=False, assign=True)
    model.tie_weights()
    missing = [name for name in missing if not (model.config.tie_word_embeddings and name == "lm_head.weight")]
    if missing or unexpected:
        raise ModelError(f"{file.path}: tensors missing {missing[:3]}, not known {unexpected[:3]}", DAMAGED)
    return model.requires_grad_(True).eval()


def _llama_config(file: GgufFile) -> Any:
    from transformers import LlamaConfig

    def key(name: str, default: Any = None) -> Any:
        found = file.metadata.get(f"llama.{name}", default)
        if found is None:
            raise ModelError(f"{file.path}: metadata llama.{name} is missing", DAMAGED)
        return found

    special = {
        role: file.metadata.get(f"tokenizer.ggml.{long}_token_id") for role, long in (("bos", "bos"), ("eos", "eos"), ("pad", "padding"))
    }
    heads, hidden = key("attention.head_count"), key("embedding_length")
    return LlamaConfig(
        vocab_size=file.tensors["token_embd.weight"].shape[0],
        hidden_size=hidden,
        intermediate_size=key("feed_forward_length"),
        num_hidden_layers=key("block_count"),
        num_attention_heads=heads,
        num_key_value_heads=key("attention.head_count_kv", heads),
        head_dim=key("attention.key_length", hidden // heads),
        max_position_embeddings=key("context_length"),
        rms_norm_eps=key("attention.layer_norm_rms_epsilon"),
        rope_parameters={"rope_type": "default", "rope_theta": key("rope.freq_base", 10000.0)},
        tie_word_embeddings="output.weight" not in file.tensors,
        **{f"{role}_token_id": number for role, number in special.items()},
    )


def _skeleton(kind: Any, config: Any) -> Any:
    """A model whose weights are about to be assigned: storage is not initialised, buffers are."""
    import torch
    from transformers.initialization import no_init_weights

    config.dtype = torch.float32
    with no_init_weights():
        return kind(config)


def _unpermute(weights: npt.NDArray[np.float32], heads: int) -> npt.NDArray[np.float32]:
    """Undo the interleaving of rotary halves that the format applies to query and key rows of each head."""
    rows, width = weights.shape
    halves = weights.reshape(heads, rows // heads // 2, 2, width).swapaxes(1, 2)
    return np.ascontiguousarray(halves.reshape(rows, width))


def _other(file: GgufFile) -> PreTrainedModel:
    """Any architecture that transformers reads, rebuilt without its quantisation."""
    import torch
    from transformers import AutoModelForCausalLM

    try:
        loaded = AutoModelForCausalLM.from_pretrained(
            str(file.path.parent), gguf_file=file.path.name, local_files_only=True, dtype=torch.float32, quantization_config=None
        )
    except Exception as error:
        raise ModelError(
            f"{file.path}: architecture {file.architecture!r} cannot be read: {error}", "take its safetensors instead"
        ) from error
    facts = {key: value for key, value in loaded.config.to_dict().items() if key not in ("quantization_config", "_model_name_or_path")}
    model = _skeleton(type(loaded), type(loaded.config)(**facts))
    model.load_state_dict(loaded.state_dict(), assign=True)
    model.tie_weights()
    return model.eval()


def _byte_level_bpe(file: GgufFile, digits: bool) -> PreTrainedTokenizerFast:
    """Vocabulary and merges of the file, the published pre-tokenizer, special tokens by type, chat template."""
    from transformers import PreTrainedTokenizerFast

    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    data = file.metadata
    tokens, types = data["tokenizer.ggml.tokens"], data.get("tokenizer.ggml.token_type", [])
    merges = [tuple(merge.split(" ")) for merge in data["tokenizer.ggml.merges"]]
    backend = Tokenizer(models.BPE(vocab={token: number for number, token in enumerate(tokens)}, merges=merges))
    split = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), split]) if digits else split
    backend.decoder = decoders.ByteLevel()
    control = [AddedToken(token, normalized=False, special=True) for token, kind in zip(tokens, types) if kind == CONTROL]
    backend.add_special_tokens(control)
    backend.add_tokens([AddedToken(token, normalized=False) for token, kind in zip(tokens, types) if kind == USER_DEFINED])
    if backend.get_vocab_size() != len(tokens):
        raise TokenizerError(f"{file.path}: {len(tokens)} tokens, but {backend.get_vocab_size()} different ones", DAMAGED)
    named = {
        f"{role}_token": tokens[data[f"tokenizer.ggml.{long}_token_id"]]
        for role, long in (("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding"))
        if f"tokenizer.ggml.{long}_token_id" in data
    }
    extra = [token.content for token in control if token.content not in named.values()]
    flags = {key: True for key in ("add_bos_token", "add_eos_token") if data.get(f"tokenizer.ggml.{key}")}
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        extra_special_tokens=extra,
        chat_template=data.get("tokenizer.chat_template"),
        model_max_length=data.get(f"{file.architecture}.context_length", 1_000_000),
        clean_up_tokenization_spaces=False,
        **named,
        **flags,
    )


def _header_limit(path: Path) -> int:
    """How much of the file to read: header and table of any model lie well within it."""
    return min(path.stat().st_size, 1 << 28)


def _parse(blob: bytes, path: Path) -> tuple[dict[str, Any], dict[str, tuple[tuple[int, ...], int, int]]]:
    """Metadata and tensor table of a file's first bytes; entry "" of the table says where the data begins."""
    if blob[:4] != b"GGUF":
        raise ModelError(f"{path} is not a GGUF file (it begins with {blob[:4]!r})", "give a .gguf file")
    version, tensor_count, key_count = struct.unpack_from("<IQQ", blob, 4)
    if version not in (2, 3):
        raise ModelError(f"{path} is GGUF version {version}; versions 2 and 3 can be read", "convert it with a current exporter")
    position, metadata = 24, {}
    for _ in range(key_count):
        key, position = _string(blob, position)
        (kind,) = struct.unpack_from("<I", blob, position)
        metadata[key], position = _value(blob, position + 4, kind)
    table: dict[str, tuple[tuple[int, ...], int, int]] = {}
    for _ in range(tensor_count):
        name, position = _string(blob, position)
        (dimensions,) = struct.unpack_from("<I", blob, position)
        shape = struct.unpack_from(f"<{dimensions}Q", blob, position + 4)
        kind, offset = struct.unpack_from("<IQ", blob, position + 4 + 8 * dimensions)
        table[name] = (shape[::-1], kind, offset)  # the format counts the fastest axis first
        position += 16 + 8 * dimensions
    alignment = metadata.get("general.alignment", 32)
    table[""] = ((), 0, -(-position // alignment) * alignment)
    return metadata, table


def _value(blob: bytes, position: int, kind: int) -> tuple[Any, int]:
    if kind == STRING:
        return _string(blob, position)
    if kind == ARRAY:
        inner, count = struct.unpack_from("<IQ", blob, position)
        position += 12
        if inner in SCALARS:
            form = f"<{count}{SCALARS[inner]}"
            return list(struct.unpack_from(form, blob, position)), position + struct.calcsize(form)
        items = []
        for _ in range(count):
            item, position = _value(blob, position, inner)
            items.append(item)
        return items, position
    form = f"<{SCALARS[kind]}"
    (value,) = struct.unpack_from(form, blob, position)
    if kind == FLOAT32:
        value = json.loads(str(np.float32(value)))  # 1e-05 as written by people, not 9.999999747378752e-06: the same float32
    return value, position + struct.calcsize(form)


def _string(blob: bytes, position: int) -> tuple[str, int]:
    (length,) = struct.unpack_from("<Q", blob, position)
    end = position + 8 + length
    if end > len(blob):
        raise ValueError("a string runs over the end")
    return blob[position + 8 : end].decode("utf-8"), end
