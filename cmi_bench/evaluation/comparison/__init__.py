"""Which differences between runs are real: paired tests on the same rows."""
