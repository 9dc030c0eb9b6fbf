"""What training costs in floating-point operations."""

from __future__ import annotations

from typing import Any

import torch

from tokgraft.training.parts import Selection


def flops_per_token(model: Any, selection: Selection, length: int) -> int:
    """Operations of one training token in a stage.

    With everything trained this is the usual 6 N plus attention: 2 N for the forward pass, 2 N for gradients of activations and 2 N for
    gradients of weights, N being the weights that take part in matrix products (layers and head; looking up a row costs nothing). Frozen
    weights save the last term only: as long as anything below the head learns, gradients still run through every layer. Attention adds
    2 x layers x width x length forward (causal: half of the square) and twice that backward.
    """
    lookups = {id(module.weight) for module in model.modules() if isinstance(module, torch.nn.Embedding)}
    head = model.get_output_embeddings().weight
    products = {name: p.numel() for name, p in model.named_parameters() if p.ndim >= 2 and (id(p) not in lookups or p is head)}
    trained = sum(size for name, size in products.items() if name in set(selection.trainable))
    config = model.config.get_text_config()
    width = config.num_attention_heads * (getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
    attention = 2 * config.num_hidden_layers * width * length
    forward = 2 * sum(products.values()) + attention
    below_head = any(model.get_parameter(name) is not head for name in selection.trainable) or head is model.get_input_embeddings().weight
    return int(forward + (forward if below_head else 0) + (attention if below_head else 0) + 2 * trained)
