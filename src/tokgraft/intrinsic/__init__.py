"""Intrinsic evaluation of tokenizers: what a vocabulary does to text, measured without training a model.

Kept apart from `tokgraft.tokenizers`, whose files decide what a tokenizer is: a metric that changes makes no tokenizer anew.
"""
