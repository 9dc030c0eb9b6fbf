"""Bits per byte and harness tasks of a model folder, and the speed of two beside each other."""
