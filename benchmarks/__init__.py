"""Measurements of the project itself: its speed (`make bench`), and its tests (`make mutants`). Nothing a run needs."""
