"""The encoders on faster CPU kernels: the same numbers as the plain modules, with less work."""
