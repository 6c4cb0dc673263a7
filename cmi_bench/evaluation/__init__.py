"""Pure functions from scored rows to agreement with people. Nothing here imports torch."""
