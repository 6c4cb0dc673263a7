"""`cmi-bench` in this process, in a folder of songs."""

import logging

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from cmi_bench.cli.app import app

SR = 16000


@pytest.fixture
def songs(tmp_path, monkeypatch):
    """A folder, the current one, with a clean tone, two noisier ones (one below), and what is no audio."""
    folder = tmp_path / "here"
    folder.mkdir()
    time = np.arange(SR) / SR
    for number, (name, noise) in enumerate([("clean.wav", 0.0), ("takes/a.flac", 0.2), ("takes/b.wav", 0.5)]):
        (folder / name).parent.mkdir(exist_ok=True)
        hiss = noise * np.random.default_rng(number).standard_normal(SR)
        soundfile.write(folder / name, 0.3 * np.sin(2 * np.pi * 440 * time) + hiss, SR)
    (folder / "broken.mp3").write_bytes(b"no audio at all")
    (folder / "takes" / "notes.txt").write_text("not a song")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def cli(tmp_path, monkeypatch):
    """Run a command with the signal baseline and a cache of the test's own."""
    monkeypatch.setenv("COLUMNS", "200")
    level = logging.getLogger("cmi_bench").level

    def run(*words, stdin=None, cache=True):
        own = ["--model=signal", f"--cache-dir={tmp_path}/cache", "--device=cpu"] if cache else []
        return CliRunner().invoke(app, [words[0], *own, *map(str, words[1:])], input=stdin)

    yield run
    logging.getLogger("cmi_bench").setLevel(level)
