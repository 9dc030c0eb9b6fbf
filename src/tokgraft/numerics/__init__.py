"""Kernels that methods and resources share: sums of rows, nearest rows, sparse codes, small least-squares problems. Nothing here knows tokens."""
