"""Bring the benchmark's data, and a model's checkpoint, onto this machine."""
