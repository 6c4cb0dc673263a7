"""Measurements of the project's own speed: `make bench-audio`. No tests, and nothing a run needs."""
