"""Faster CPU kernels for the encoders: the same function as the plain modules but for rounding.

The plain modules of `models/muq` and `models/cmi_rm` define the networks; `prepare.prepare` makes the faster ones of
them. On CUDA, and with `kernels=off`, the plain modules compute.
"""
