"""Ctrl-C before there is anything to stop: while a command loads its libraries it ends the process, without a word."""

import signal
import threading


def end_on_interrupt() -> None:
    """Let Ctrl-C end this process at once; where it is ignored, as in a shell's background, it stays ignored.

    For commands only, before they import what takes a while: nothing is lost then, a traceback through libraries
    says nothing, and some of them would swallow the exception.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def raise_on_interrupt() -> None:
    """Let Ctrl-C raise KeyboardInterrupt again, as Python has it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)
