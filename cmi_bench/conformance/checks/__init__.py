"""The checks: each a function of a subject that returns what it saw, or raises why it is not met."""
