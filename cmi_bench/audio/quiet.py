"""Keep libmpg123 from writing to the terminal.

libsndfile decodes MP3 with a libmpg123 inside of it, which remarks on every damaged frame and wrong tag with
`fprintf(stderr, ...)`, and libsndfile has no switch for that (its issue 958). What is wrong with a file is told by
`probe`, and by the errors that decoding raises.
"""

import contextlib
import ctypes
import os
import threading
from collections.abc import Iterator
from functools import cache

_STREAMS = ("stderr", "__stderrp")
"""The C library's variable: glibc's name, and macOS's."""
_lock = threading.Lock()
_calls = 0
"""How many decoders are at work."""
_before: int | None = None
"""C's stderr, while they are."""


@contextlib.contextmanager
def quiet_c_library() -> Iterator[None]:
    """Let what C code prints on its stderr get lost, for as long as a decoder is at work; several threads may be.

    It is the C library's stream that is exchanged, not file descriptor 2: what Python writes meanwhile, in whichever
    thread, is not touched. Where the stream cannot be exchanged, nothing is.
    """
    stream = _stream()
    if stream is None:
        yield
        return
    global _calls, _before
    with _lock:
        if not _calls:
            _before = stream.value
            stream.value = _nowhere() or _before
        _calls += 1
    try:
        yield
    finally:
        with _lock:
            _calls -= 1
            if not _calls:
                stream.value = _before


@cache
def _stream() -> ctypes.c_void_p | None:
    """Return the variable that holds C's stderr; None where the C library has no such variable."""
    for name in _STREAMS:
        with contextlib.suppress(ValueError, OSError, TypeError):
            return ctypes.c_void_p.in_dll(ctypes.CDLL(None), name)
    return None


@cache
def _nowhere() -> int | None:
    """Return a stream whose output is lost; None where it cannot be had."""
    fopen = ctypes.CDLL(None).fopen
    fopen.restype = ctypes.c_void_p
    stream: int | None = fopen(os.devnull.encode(), b"w")
    return stream


def _in_a_child() -> None:
    """Put things right in a process that was forked while another thread was decoding; that thread is not in it."""
    global _lock, _calls
    stream = _stream()
    if _calls and stream is not None:
        stream.value = _before
    _lock, _calls = threading.Lock(), 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_a_child)
