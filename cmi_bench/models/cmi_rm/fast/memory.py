"""Memory that is used again and again stays with the process."""

import ctypes
import platform
from functools import cache

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Numbers of the options in glibc's malloc.h."""
TRIM, MMAP = 2**31 - 1, 2**30
"""Bytes: free memory that is given back to the system; a request that gets a mapping of its own."""


@cache
def keep_freed_memory() -> bool:
    """Tell the C library to keep what is freed, where it is glibc; once for the process.

    It gives large tensors back to the system at once, which then has to clear each page for the next one: without
    this a tenth of the audio tower's time on the CPU. Peak memory does not change.

    Returns:
        Whether the C library took it.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(M_MMAP_THRESHOLD, MMAP) and mallopt(M_TRIM_THRESHOLD, TRIM))
