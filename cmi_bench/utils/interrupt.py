"""Ctrl-C in a command: it ends the process without a word while libraries are loaded, and is never lost after that."""

import _thread
import contextlib
import signal
import sys
import threading

AGAIN_SECONDS = 0.05
"""After which a Ctrl-C that was lost is raised again."""


def end_on_interrupt() -> None:
    """Let Ctrl-C end this process at once; where it is ignored, as in a shell's background, it stays ignored.

    For commands only, before they import what takes a while: nothing is lost then, a traceback through libraries
    says nothing, and some of them would swallow the exception.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def raise_on_interrupt() -> None:
    """Let Ctrl-C raise KeyboardInterrupt again, as Python has it, and again where Python drops it.

    It drops what finalisers raise, which the garbage collector calls at any moment: a sweep would go on.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.unraisablehook = _raise_again


def _raise_again(dropped: "sys.UnraisableHookArgs") -> None:
    if dropped.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(dropped)
        return
    again = threading.Timer(AGAIN_SECONDS, _thread.interrupt_main)  # raised here it would be dropped once more
    again.daemon = True
    with contextlib.suppress(RuntimeError):  # no threads any more: the process ends
        again.start()
