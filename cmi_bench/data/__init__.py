"""Rows, labels and the four datasets. Nothing here imports torch."""
