"""Progress on a terminal and in a log."""

import logging
import subprocess
import sys

import numpy as np
import pytest

from cmi_bench.utils import console
from cmi_bench.utils.console import (
    ConsoleLog,
    ItemCount,
    ProgressBar,
    part_of,
    peak_memory,
    share_of_part,
    silence,
    spinner,
)


@pytest.fixture
def log(monkeypatch):
    """Every step is worth a line."""
    monkeypatch.setattr(console, "REDRAW_SECONDS_IN_A_LOG", 0.0)


def test_a_log_gets_lines_of_amount_and_rate(log, capsys):
    with ProgressBar("scoring", 4, unit="clip", patience=0) as bar:
        bar.advance(1)
        bar.advance(9)
    first, last = capsys.readouterr().err.splitlines()[:2]
    assert first.startswith("scoring: 1/4 clips")
    assert last.startswith("scoring: 4/4 clips")


@pytest.mark.parametrize("total", [0, 3])
def test_nothing_done_shows_nothing(total, capsys):
    with ProgressBar("scoring", total, unit="clip", patience=0):
        pass
    assert capsys.readouterr().err == ""


def test_what_is_soon_over_shows_nothing(capsys):
    assert list(ItemCount("looking")(iter("abc"), 3)) == ["a", "b", "c"]
    assert capsys.readouterr().err == ""


@pytest.fixture
def make_terminal(monkeypatch):
    """Called in a test, makes stderr a terminal; fixtures have another stderr than tests."""

    def make():
        monkeypatch.setattr("sys.stderr.isatty", lambda: True)
        monkeypatch.setenv("TTY_COMPATIBLE", "1")
        monkeypatch.setenv("TERM", "xterm")

    return make


def test_a_terminal_gets_a_bar(make_terminal, capsys):
    make_terminal()
    with ProgressBar("scoring", 4, unit="clip", patience=0) as bar:
        bar.advance(4)
    shown = capsys.readouterr()
    assert "4/4 clips" in shown.err
    assert shown.out == ""


def test_a_terminal_gets_a_spinner_that_goes_away(make_terminal, capsys):
    make_terminal()
    with spinner("loading torch"):
        pass
    shown = capsys.readouterr()
    assert "loading torch" in shown.err
    assert shown.err.rstrip().endswith("\x1b[1A\x1b[2K")  # up to its line, which is erased
    assert shown.out == ""


def test_silence_shows_neither_and_ends(make_terminal, capsys):
    make_terminal()
    for is_silent in (True, False):
        with silence(is_silent), spinner("loading torch"), ProgressBar("scoring", 4, unit="clip", patience=0) as bar:
            bar.advance(4)
        assert bool(capsys.readouterr().err) == (not is_silent)


def test_a_log_gets_no_spinner(capsys):
    with spinner("loading torch"):
        pass
    assert capsys.readouterr() == ("", "")


def test_a_process_that_is_not_the_first_has_no_spinner(make_terminal, monkeypatch, capsys):
    make_terminal()
    monkeypatch.setenv("LOCAL_RANK", "1")
    with spinner("loading torch"):
        pass
    assert capsys.readouterr() == ("", "")


def test_messages_go_above_what_moves(make_terminal, capsys):
    make_terminal()
    log = logging.Logger("somebody's")
    log.addHandler(ConsoleLog())
    with spinner("loading torch"):
        log.warning("The cache cannot be written.")
    lines = capsys.readouterr().err.splitlines()
    assert any(line.endswith("The cache cannot be written.") and "loading" not in line for line in lines)


@pytest.mark.slow
def test_the_peak_rises_with_what_is_used_and_does_not_fall_again():
    before = peak_memory()["process_gb"]
    size = int(1e9 * before) + 10**8
    used = np.ones(size, dtype=np.uint8)
    del used

    assert peak_memory()["process_gb"] >= size / 1e9 > before


@pytest.mark.slow
def test_a_program_that_is_started_does_not_inherit_the_peak():
    used = np.ones(10**9, dtype=np.uint8)
    code = "from cmi_bench.utils.console import peak_memory; print(peak_memory()['process_gb'])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    del used

    assert float(found.stdout) < 0.9


def test_bars_of_parts_advance_the_whole(capsys):
    whole = ProgressBar("all", 100, unit="clip")
    with part_of(whole, 40):
        part = ProgressBar("encoding", 8, unit="clip", patience=0)
        part.advance(4)
        assert (whole.done, part.total) == (20, 0)
        with share_of_part(0.25):
            ProgressBar("scoring", 5, unit="clip").advance(5)
            ProgressBar("nothing to do", 0, unit="clip").advance(1)
    assert whole.done == 30
    own = ProgressBar("own", 8, unit="clip")
    with share_of_part(0.5), part_of(None, 8):
        assert ProgressBar("own too", 8, unit="clip").total == 8
    own.advance(3)
    assert (own.done, whole.done) == (3, 30)
