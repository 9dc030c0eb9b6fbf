"""Models and tokenizers from GGUF files: plain float32 weights, and a tokenizer that splits text as the published one does.

Llama-shaped models are built directly, other architectures go through transformers, which sees the GGUF file and nothing that lies beside
it. A file may be damaged or made to harm: sizes in its metadata are compared with its tensors before memory is taken.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tokgraft.errors import ModelError, TokenizerError
from tokgraft.models.gguf_file import DAMAGED, GgufFile, read_header, read_tensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

CONTROL, USER_DEFINED = 3, 4  # token types
SPECIAL = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}  # role -> its name in `tokenizer.ggml.<name>_token_id`

# Names of `tokenizer.ggml.pre` whose published tokenizer isolates every digit and then splits like GPT-2.
DIGITS_THEN_GPT2 = {"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"}
PLAIN_GPT2 = {"gpt-2", "mpt", "olmo", "jais", "phi-2", "gigachat"}

LLAMA_NAMES = {
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
}  # fmt: skip
LLAMA_TOP = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}


def load_gguf_model(path: Path) -> PreTrainedModel:
    """A plain float32 model in eval mode; nothing in it tells that it was quantised.

    Raises:
        ModelError: The file is damaged, its architecture is not known, or its positions are scaled (the factors would be lost).
    """
    file = read_header(path)
    if "rope_freqs.weight" in file.tensors or file.metadata.get(f"{file.architecture}.rope.scaling.type", "none") != "none":
        raise ModelError(f"{file.path}: scaled rotary positions cannot be read from GGUF", "take the safetensors of this model instead")
    layers = file.size(f"{file.architecture}.block_count", most=len(file.tensors))
    known = {f"{stem}.weight" for stem in LLAMA_TOP} | {f"blk.{layer}.{stem}.weight" for layer in range(layers) for stem in LLAMA_NAMES}
    if file.architecture == "llama" and set(file.tensors) <= known:
        return _llama(file, layers)
    return _other(file)


def load_gguf_tokenizer(path: Path) -> PreTrainedTokenizerFast:
    """The tokenizer in a GGUF file.

    Byte-level BPE is rebuilt with the pre-tokenizer that `tokenizer.ggml.pre` stands for; other kinds are converted by transformers.

    Raises:
        TokenizerError: It cannot be rebuilt faithfully.
        ModelError: The file is damaged.
    """
    file = read_header(path)
    kind, pre = file.value("tokenizer.ggml.model", str, "none"), file.value("tokenizer.ggml.pre", str, "default")
    tokens = _tokens(file)
    ids = _special_ids(file, len(tokens))
    if kind == "gpt2" and pre in DIGITS_THEN_GPT2 | PLAIN_GPT2:
        return _byte_level_bpe(file, tokens, ids, digits=pre in DIGITS_THEN_GPT2)
    from transformers import AutoTokenizer

    if kind == "gpt2":
        from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

        if pre not in GGUF_PRE_TOKENIZER_SPLITS:
            raise TokenizerError(f"{path}: pre-tokenizer {pre!r} is not known", "give the published tokenizer's folder with --tokenizer")
    try:
        with _alone(file) as folder:
            return AutoTokenizer.from_pretrained(folder, gguf_file=file.path.name, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # anything from KeyError to a bare Exception of the Rust side
        raise TokenizerError(
            f"{path}: its tokenizer ({kind}) cannot be read: {error}", "give the published folder with --tokenizer"
        ) from error


@contextmanager
def _alone(file: GgufFile) -> Iterator[str]:
    """A folder that holds the file and nothing else: transformers reads, and may run, what lies beside a GGUF file."""
    with tempfile.TemporaryDirectory(prefix="tokgraft-") as folder:
        (Path(folder) / file.path.name).symlink_to(file.path.resolve())
        yield folder


def _tokens(file: GgufFile) -> list[str]:
    tokens = file.value("tokenizer.ggml.tokens", list)
    if not tokens or not all(isinstance(token, str) for token in tokens):
        raise ModelError(f"{file.path}: tokenizer.ggml.tokens is empty or holds other things than strings", DAMAGED)
    return tokens


def _special_ids(file: GgufFile, rows: int) -> dict[str, int]:
    """Role -> id of the special tokens that the file names.

    Raises:
        ModelError: An id is none of the vocabulary. (Taken as an index, -1 would be the last token.)
    """
    found = {role: file.metadata[key] for role, name in SPECIAL.items() if (key := f"tokenizer.ggml.{name}_token_id") in file.metadata}
    for role, number in found.items():
        if type(number) is not int or not 0 <= number < rows:
            raise ModelError(
                f"{file.path}: the id of its {role} token is {number!r}, outside the {rows} tokens", "take another file of the model"
            )
    return found


def _llama(file: GgufFile, layers: int) -> PreTrainedModel:
    """Build a Llama from its tensors; equal to the last bit to what transformers makes of the file."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    facts = _llama_facts(file, layers)
    _check_shapes(file, facts)
    model = _skeleton(LlamaForCausalLM, LlamaConfig(**facts))
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


def _llama_facts(file: GgufFile, layers: int) -> dict[str, Any]:
    """Arguments of a LlamaConfig."""
    rows = file.shape("token_embd.weight")[0]
    heads, hidden = file.size("llama.attention.head_count"), file.size("llama.embedding_length")
    ids = _special_ids(file, rows)
    epsilon, base = file.value("llama.attention.layer_norm_rms_epsilon", float), file.value("llama.rope.freq_base", float, 10000.0)
    if not 0 < epsilon < 1 or not base > 0:
        raise ModelError(f"{file.path}: metadata says an epsilon of {epsilon} and rotary positions of base {base}", DAMAGED)
    return {
        "vocab_size": rows,
        "hidden_size": hidden,
        "intermediate_size": file.size("llama.feed_forward_length"),
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": file.size("llama.attention.head_count_kv", heads),
        "head_dim": file.size("llama.attention.key_length", hidden // heads),
        "max_position_embeddings": file.size("llama.context_length"),
        "rms_norm_eps": epsilon,
        "rope_parameters": {"rope_type": "default", "rope_theta": base},
        "tie_word_embeddings": "output.weight" not in file.tensors,
        **{f"{role}_token_id": ids.get(role) for role in ("bos", "eos", "pad")},
    }


def _check_shapes(file: GgufFile, facts: dict[str, Any]) -> None:
    """Hold every tensor that the metadata asks for against the table, before storage of that size is taken.

    Raises:
        ModelError: A tensor is missing or of another shape, or heads do not divide as attention needs it.
    """
    rows, hidden, inner = facts["vocab_size"], facts["hidden_size"], facts["intermediate_size"]
    heads, groups, width = facts["num_attention_heads"], facts["num_key_value_heads"], facts["head_dim"]
    if heads % groups or width % 2:
        raise ModelError(f"{file.path}: {heads} heads cannot share {groups} keys, or {width} is no width of a head", DAMAGED)
    block = {
        "attn_q": (heads * width, hidden), "attn_k": (groups * width, hidden), "attn_v": (groups * width, hidden),
        "attn_output": (hidden, heads * width), "ffn_gate": (inner, hidden), "ffn_up": (inner, hidden), "ffn_down": (hidden, inner),
        "attn_norm": (hidden,), "ffn_norm": (hidden,),
    }  # fmt: skip
    wanted = {f"blk.{layer}.{stem}.weight": shape for layer in range(facts["num_hidden_layers"]) for stem, shape in block.items()}
    wanted |= {"token_embd.weight": (rows, hidden), "output_norm.weight": (hidden,)}
    if not facts["tie_word_embeddings"]:
        wanted["output.weight"] = (rows, hidden)
    for name, shape in wanted.items():
        if file.shape(name) != shape:
            raise ModelError(f"{file.path}: tensor {name} has shape {file.shape(name)}, its metadata says {shape}", DAMAGED)


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

    _check_sizes(file)
    try:
        with _alone(file) as folder:
            loaded, report = AutoModelForCausalLM.from_pretrained(
                folder, gguf_file=file.path.name, local_files_only=True, trust_remote_code=False, dtype=torch.float32,
                quantization_config=None, output_loading_info=True,
            )  # fmt: skip
    except Exception as error:
        raise ModelError(
            f"{file.path}: architecture {file.architecture!r} cannot be read: {error}", "take its safetensors instead"
        ) from error
    made_up = sorted([*report["missing_keys"], *(str(found[0]) for found in report["mismatched_keys"])])
    if made_up:  # transformers has filled these with random numbers
        raise ModelError(f"{file.path}: {len(made_up)} weights are missing or of another shape, among them {made_up[0]}", DAMAGED)
    facts = {key: value for key, value in loaded.config.to_dict().items() if key not in ("quantization_config", "_model_name_or_path")}
    model = _skeleton(type(loaded), type(loaded.config)(**facts))
    model.load_state_dict(loaded.state_dict(), assign=True)
    model.tie_weights()
    return model.eval()


def _check_sizes(file: GgufFile) -> None:
    """Compare the sizes that every architecture states with the input table and with the whole file.

    Raises:
        ModelError: They do not fit: a model of those sizes would take memory that the file does not account for.
    """
    name = file.architecture
    hidden, shape = file.size(f"{name}.embedding_length"), file.shape("token_embd.weight")
    if len(shape) != 2 or shape[1] != hidden:
        raise ModelError(f"{file.path}: its tokens have rows of shape {shape[1:]}, its metadata says {hidden}", DAMAGED)
    values = sum(int(np.prod(tensor.shape)) for tensor in file.tensors.values())
    for key in ("feed_forward_length", "expert_feed_forward_length", "attention.key_length", "attention.head_count", "expert_count",
                "vocab_size"):  # fmt: skip
        found = file.metadata.get(f"{name}.{key}", 1)
        for number in found if isinstance(found, list) else [found]:
            if type(number) is not int or not 0 <= number * hidden <= values:
                raise ModelError(f"{file.path}: metadata {name}.{key} is {number!r}; the file holds {values} values", DAMAGED)


def _byte_level_bpe(file: GgufFile, tokens: list[str], ids: dict[str, int], digits: bool) -> PreTrainedTokenizerFast:
    """Vocabulary and merges of the file, the published pre-tokenizer, special tokens by type, chat template."""
    from transformers import PreTrainedTokenizerFast

    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    types, merges = file.value("tokenizer.ggml.token_type", list, []), file.value("tokenizer.ggml.merges", list)
    pairs: list[Any] = [tuple(merge.split(" ")) if isinstance(merge, str) else () for merge in merges]
    if len(types) not in (0, len(tokens)) or not all(len(pair) == 2 for pair in pairs):
        raise ModelError(f"{file.path}: {len(types)} types of {len(tokens)} tokens, or merges that are no pairs", DAMAGED)
    try:
        backend = Tokenizer(models.BPE(vocab={token: number for number, token in enumerate(tokens)}, merges=pairs))
    except Exception as error:  # the Rust side raises bare ones
        raise TokenizerError(f"{file.path}: its merges and tokens do not belong together: {error}", DAMAGED) from None
    split = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), split]) if digits else split
    backend.decoder = decoders.ByteLevel()
    control = [AddedToken(token, normalized=False, special=True) for token, kind in zip(tokens, types) if kind == CONTROL]
    backend.add_special_tokens(control)
    backend.add_tokens([AddedToken(token, normalized=False) for token, kind in zip(tokens, types) if kind == USER_DEFINED])
    if backend.get_vocab_size() != len(tokens):
        raise TokenizerError(f"{file.path}: {len(tokens)} tokens, but {backend.get_vocab_size()} different ones", DAMAGED)
    named = {f"{role}_token": tokens[number] for role, number in ids.items()}
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        extra_special_tokens=[token.content for token in control if token.content not in named.values()],
        chat_template=file.value("tokenizer.chat_template", str, "") or None,
        model_max_length=file.size(f"{file.architecture}.context_length", 1_000_000),
        clean_up_tokenization_spaces=False,
        **named,
        **{key: True for key in ("add_bos_token", "add_eos_token") if file.value(f"tokenizer.ggml.{key}", bool, False)},
    )
