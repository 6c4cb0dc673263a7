"""Rows and audio that were made to break a run: each is answered with one message, or scored as it should be."""

import contextlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cmi_bench.errors import UserError

PROJECT = Path(__file__).parents[1]
SR = 16000
QUICK = ("model=signal", "device=cpu", "cache=off", "tracking=none", "metrics.resamples=0", "metrics.report=false")
LONG_NAME = "x" * 300 + ".wav"


def tone(seconds, sr=SR, channels=1):
    wave = 0.3 * np.sin(2 * np.pi * 440 * np.arange(int(seconds * sr)) / sr)
    return np.tile(wave[:, None], (1, channels)).astype(np.float32)


def pipe(path):
    os.mkfifo(path)


def listening(path):
    # The name of a socket has to be short.
    with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as opened:
        opened.bind(path.name)


def not_numbers(path):
    wave = tone(1.0)
    wave[100] = np.nan
    soundfile.write(path, wave, SR, subtype="FLOAT")


def infinite(path):
    wave = tone(1.0)
    wave[100] = np.inf
    soundfile.write(path, wave, SR, subtype="FLOAT")


def of_rate(sr):
    return lambda path: soundfile.write(path, tone(1.0, sr), sr)


BROKEN = {
    "pipe.wav": (pipe, "Not a regular file but a named pipe"),
    "folder.wav": (lambda path: path.mkdir(), "Not a regular file but a folder"),
    "device.wav": (lambda path: path.symlink_to("/dev/zero"), "Not a regular file but a device"),
    "socket.wav": (listening, "Not a regular file but a socket"),
    "loop.wav": (lambda path: path.symlink_to(path.name), "Too many levels of symbolic links"),
    LONG_NAME: (lambda path: None, "File name too long"),
    "gone.wav": (lambda path: None, "No such file"),
    "empty.wav": (lambda path: path.write_bytes(b""), "Cannot decode"),
    "silent.wav": (lambda path: soundfile.write(path, tone(0.0), SR), "holds no audio samples"),
    "text.wav": (lambda path: path.write_text("no audio"), "Cannot decode"),
    "clip.raw": (lambda path: path.write_bytes(tone(1.0).tobytes()), "no header"),
    "nan.wav": (not_numbers, "no numbers"),
    "inf.wav": (infinite, "no numbers"),
    "slow.wav": (of_rate(7), "sampling rate is 7 Hz"),
    "fast.wav": (of_rate(2_000_003), "sampling rate is 2,000,003 Hz"),
}
ODD = {
    "44101.wav": of_rate(44_101),
    "655351.wav": of_rate(655_351),
    "channels.wav": lambda path: soundfile.write(path, tone(1.0, channels=1024), SR),
    "line\u2028separator \u0085.wav": of_rate(SR),
    'quotes" and <tags> & =1+1.wav': of_rate(SR),
}
LYRICS = "one\u2028two\u0085three\x0cfour\x1cfive \ufeff \U0001f3b5 \u202e"


def row(path, **fields):
    return {
        "source": "PAM (music)",
        "split": "test",
        "audio-path": path,
        "prompt": "a tone",
        "musicality": 3.0,
    } | fields


def write_rows(root, rows, *, start=""):
    file = root / "all_test.jsonl"
    file.write_text(start + "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in rows), encoding="utf-8")
    return [f"data.root={root}", f"data.jsonl={file}"]


@pytest.mark.slow
def test_each_broken_clip_fails_alone_and_odd_ones_are_scored(run_here, tmp_path):
    root = tmp_path / "data"
    root.mkdir()
    for name, (make, _) in BROKEN.items():
        make(root / name)
    for name, make in ODD.items():
        make(root / name)
    rows = [row(name, lyrics=LYRICS) for name in [*BROKEN, *ODD]]
    data = write_rows(root, rows, start="\ufeff")  # with the byte order mark of a Windows editor
    run_here(*QUICK, *data, "on_error=record", folder=tmp_path / "run")
    lines = (tmp_path / "run/results.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    found = {one["audio-path"]: one for one in map(json.loads, lines)}
    assert list(found) == [*BROKEN, *ODD]
    for name, (_, reason) in BROKEN.items():
        assert reason in found[name]["inference_error"], name
        assert found[name]["predicted_musicality"] is None
    for name in ODD:
        assert found[name]["inference_error"] == "", name
        assert found[name]["predicted_musicality"] is not None
        assert found[name]["lyrics"] == LYRICS


@pytest.mark.parametrize("path", ["/etc/passwd", "../secret.wav", "inside/../../secret.wav", "link/../secret.wav"])
def test_a_row_cannot_lead_out_of_the_data_root(run_here, tmp_path, path):
    root = tmp_path / "data"
    (root / "inside").mkdir(parents=True)
    (tmp_path / "other" / "disk").mkdir(parents=True)
    (root / "link").symlink_to(tmp_path / "other" / "disk")
    of_rate(SR)(root / "good.wav")
    of_rate(SR)(tmp_path / "secret.wav")
    data = write_rows(root, [row("good.wav"), row(path)])
    with pytest.raises(UserError, match=r"line 2 names audio outside of the data root") as error:
        run_here(*QUICK, *data, "on_error=record", folder=tmp_path / "run")
    assert "data.allow_outside=true" in error.value.hint


def test_links_in_the_data_root_are_followed_and_the_outside_is_read_where_it_is_allowed(run_here, tmp_path):
    root, disk = tmp_path / "data", tmp_path / "disk"
    root.mkdir()
    disk.mkdir()
    for place in (disk / "a.wav", disk / "b.wav", tmp_path / "c.wav"):
        of_rate(SR)(place)
    (root / "folder").symlink_to(disk)
    (root / "b.wav").symlink_to(disk / "b.wav")
    run_here(*QUICK, *write_rows(root, [row("folder/a.wav"), row("b.wav")]), folder=tmp_path / "first")
    data = write_rows(root, [row("folder/a.wav"), row("../c.wav"), row(str(disk / "b.wav"))])
    run_here(*QUICK, *data, "data.allow_outside=true", folder=tmp_path / "second")
    for folder, count in (("first", 2), ("second", 3)):
        rows = [json.loads(line) for line in (tmp_path / folder / "results.jsonl").read_text().splitlines()]
        assert [one["inference_valid_a"] for one in rows] == [True] * count


def test_what_is_there_and_no_file_is_said_before_a_run_begins(run_here, tmp_path):
    pipe(tmp_path / "pipe.wav")
    data = write_rows(tmp_path, [row("pipe.wav"), row(LONG_NAME)])
    with pytest.raises(UserError, match=r"pipe\.wav \(Not a regular file but a named pipe\).*File name too long"):
        run_here(*QUICK, *data, folder=tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("program", ["run.py", "cmi-bench"])
def test_a_pipe_as_audio_keeps_no_command_waiting(tmp_path, program):
    pipe(tmp_path / "pipe.wav")
    of_rate(SR)(tmp_path / "good.wav")
    data = write_rows(tmp_path, [row("pipe.wav"), row("good.wav")])
    if program == "run.py":
        words = [str(PROJECT / "run.py"), *QUICK, *data, "on_error=record", f"hydra.run.dir={tmp_path / 'run'}"]
    else:
        words = [
            "-c",
            "from cmi_bench.cli.app import app; app()",
            "score",
            "pipe.wav",
            "good.wav",
            "--model",
            "signal",
            "--no-cache",
            "--json",
        ]
    done = subprocess.run(
        [sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert "Traceback" not in done.stderr
    if program == "run.py":
        assert done.returncode == 0, done.stderr
        text = (tmp_path / "run/results.jsonl").read_text()
        assert [json.loads(line)["inference_valid_a"] for line in text.splitlines()] == [False, True]
    else:
        assert done.returncode == 3, done.stderr
        bad, good = map(json.loads, done.stdout.splitlines())
        assert "named pipe" in bad["error"]
        assert good["musicality"] > 0
