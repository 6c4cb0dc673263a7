"""The network made fast for inference: the same numbers, with less work and on better kernels.

The modules of `cmi_rm` define the network and take the weights; `prepare` turns them into what is here.
"""
