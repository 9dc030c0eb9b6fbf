"""Bits per byte, harness tasks and speed of a model folder."""
