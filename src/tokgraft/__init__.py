"""tokgraft: move a language model onto a new vocabulary, and measure which way of doing it is best."""

__version__ = "0.1.0"
