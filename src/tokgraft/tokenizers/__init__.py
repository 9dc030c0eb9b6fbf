"""Tokenizer trainers (one module each), the hard gates they must pass, and the metrics they are judged by."""
