"""Mutation testing, `make mutants`: small mistakes put into the package one at a time, to see whether a test fails.

`mutations` makes the mistakes, `coverage_map` finds the tests that reach a line, `trial` runs them on a copy of
the tree.
"""
