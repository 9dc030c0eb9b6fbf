"""Which class a model folder is loaded as: a causal or a masked language model, as its `architectures` says, or neither."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from transformers.models.auto import modeling_auto

from tokgraft.errors import ModelError

Kind = Literal["causal", "masked"]

CAUSAL = modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
MASKED = modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
NEEDS = "give a causal (decoder) or masked (encoder) language model, as published with its head"
WORDS = {
    "ForSequenceClassification": "a classifier of texts",
    "ForTokenClassification": "a classifier of tokens",
    "ForQuestionAnswering": "a model that marks answers in a text",
    "ForMultipleChoice": "a model that chooses among answers",
    "ForNextSentencePrediction": "a classifier of pairs of sentences",
    "EncoderModel": "an encoder without a language-model head",
}


def kind_of(folder: Path, config: Any) -> Kind:
    """How a folder is to be loaded.

    The first of its `architectures` decides. A class of the folder's own code is trusted to be what it is called. `ForPreTraining` of an encoder
    is loaded as its masked language model, which its weights hold whole; the head for pairs of sentences is left out. A multimodal model
    without an encoder for text is loaded as its text model where transformers has one.

    Args:
        folder: Named in errors.
        config: Its config.

    Raises:
        ModelError: It is something else: an encoder-decoder, a classifier, a body without a head.
    """
    name, model_type = architecture(config), config.model_type
    if getattr(config, "is_encoder_decoder", False) and name not in _classes(CAUSAL):
        raise ModelError(f"{folder} holds an encoder-decoder ({name or model_type})", NEEDS)
    if own := getattr(config, "auto_map", None) or {}:
        return (
            "masked" if name.endswith("ForMaskedLM") or ("AutoModelForCausalLM" not in own and "AutoModelForMaskedLM" in own) else "causal"
        )
    for ending, words in WORDS.items():
        if name.endswith(ending):
            raise ModelError(f"{folder} holds {words} ({name})", NEEDS)
    if name in _classes(modeling_auto.MODEL_MAPPING_NAMES):
        _check_body(folder, config, name)
    kind = _named(name, config)
    if kind is None or model_type not in (CAUSAL if kind == "causal" else MASKED):
        what = f"holds a {name}" if name else f"holds a model of type {model_type}"
        if config.get_text_config() is not config:
            what += ", which reads images or sound"
        raise ModelError(f"{folder} {what}: there is no causal or masked language model of this type in transformers", NEEDS)
    return kind


def predicts_next(model: Any) -> bool:
    """Whether a loaded model predicts the next token. XLM and FlauBERT have one class for that and for masked tokens."""
    if model.config.is_encoder_decoder or not model.can_generate():
        return False
    return type(model).__name__ not in _classes(MASKED) or bool(getattr(model.config, "causal", False))


def architecture(config: Any) -> str:
    """The class that a config was published with; empty where it does not say."""
    return next(iter(config.architectures or []), "")


def _named(name: str, config: Any) -> Kind | None:
    """The kind by the name of the class, else by the type of the model."""
    causal, masked = name in _classes(CAUSAL), name in _classes(MASKED)
    if causal and masked:
        return "causal" if getattr(config, "causal", False) else "masked"
    if causal or masked:
        return "causal" if causal else "masked"
    if name.endswith(("ForCausalLM", "LMHeadModel")):
        return "causal"
    if name.endswith("ForMaskedLM") or (name.endswith("ForPreTraining") and config.model_type in MASKED):
        return "masked"
    return "causal" if config.model_type in CAUSAL else "masked" if config.model_type in MASKED else None


def _check_body(folder: Path, config: Any, name: str) -> None:
    """A body alone is whole only where the input table is the head, in a decoder: the heads of encoders have weights of their own."""
    tied = bool(getattr(config.get_text_config(), "tie_word_embeddings", False))
    if name in _classes(CAUSAL) or name in _classes(MASKED) or (tied and config.model_type in CAUSAL and config.model_type not in MASKED):
        return
    what = "an encoder" if config.model_type in MASKED else "a model"
    raise ModelError(f"{folder} holds {what} without a language-model head ({name})", NEEDS)


def _classes(mapping: Any) -> set[str]:
    return {name for names in mapping.values() for name in (names if isinstance(names, (list, tuple)) else [names])}
