"""The Python interface: scoring music outside of the benchmark, and the metrics of a results file."""
