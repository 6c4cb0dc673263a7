"""Ctrl-C in the first moments of a command, as a process has it."""

import os
import signal
import subprocess
import sys
import time

import pytest
from command_line import PROJECT

from cmi_bench.utils.interrupt import end_on_interrupt, raise_on_interrupt

INTERRUPTED = "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(5)\n"
"""A library that is being loaded when Ctrl-C is pressed."""


@pytest.mark.parametrize(
    ("library", "words"), [("hydra", ["run.py", "task=list"]), ("typer", ["-m", "cmi_bench", "list"])]
)
def test_ctrl_c_while_libraries_are_loaded_ends_the_process_without_a_word(tmp_path, library, words):
    (tmp_path / f"{library}.py").write_text(INTERRUPTED)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(PROJECT)])}
    done = subprocess.run([sys.executable, *words], cwd=PROJECT, env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, b"", b"")


@pytest.fixture
def on_interrupt():
    """Put the handler of this process back."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


def test_where_ctrl_c_is_ignored_it_stays_ignored(on_interrupt):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_on_interrupt()
    raise_on_interrupt()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_from_then_on_ctrl_c_is_an_exception(on_interrupt):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    end_on_interrupt()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    raise_on_interrupt()
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


class PressesCtrlC:
    """Is interrupted in its finaliser, where Python drops exceptions."""

    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_is_not_lost_in_a_finaliser(on_interrupt, monkeypatch, capsys):
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    raise_on_interrupt()
    with pytest.raises(KeyboardInterrupt):
        PressesCtrlC()
        time.sleep(30)
    assert capsys.readouterr().err == ""
