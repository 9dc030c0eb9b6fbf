"""Base models: fetch, check, load safely, save whole."""
