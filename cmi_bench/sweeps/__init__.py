"""Sweeps: which jobs there are, what became of them, and how they compare. Nothing here imports torch."""
