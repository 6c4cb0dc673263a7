"""Synthetic music with known labels: the mini benchmark, and clips degraded by known amounts."""
