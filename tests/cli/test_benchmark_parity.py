"""The command beside the benchmark itself: the same scores, and one store of them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import cmi_bench

BUNDLE = Path(__file__).parents[1] / "data" / "parity" / "cmi_rm"
COMMAND = Path(sys.executable).with_name("cmi-bench")

pytestmark = pytest.mark.slow


def stored(cache):
    return sum(len(path.read_text().splitlines()) for path in (cache / "scores").rglob("*.jsonl"))


def test_one_clip_one_score(run_here, cli, tiny, tmp_path):
    """CMI-RM in Lightning's loop, by the command (with and without its cache), and by the Python interface."""
    shutil.copy(BUNDLE / "audio" / "b_44k_stereo_3s.flac", tiny / "pam" / "0.wav")
    cache, words = tmp_path / "cache", ["max_dur=2", "limit=2"]
    run_here(
        "model=cmi_rm", f"model.checkpoint={BUNDLE}/sa_mean", f"data.root={tiny}",
        f"data.jsonl={tiny}/all_test.jsonl", f"cache.dir={cache}", "tracking=none", "metrics.resamples=0",
        "metrics.report=false", "workers=0", "+device=cpu", *words, folder=tmp_path / "run",
    )  # fmt: skip
    rows = [json.loads(line) for line in (tmp_path / "run" / "results.jsonl").read_text().splitlines()]
    requests = tiny / "requests.jsonl"
    wanted = [
        {"audio": row["audio-path"], "text": row.get("prompt", ""), "lyrics": row.get("lyrics", ""),
         "ref_audio": row.get("ref-audio-path", "")} for row in rows
    ]  # fmt: skip
    requests.write_text("".join(json.dumps(one) + "\n" for one in wanted))
    expected = [(row["predicted_musicality"], row["predicted_text-music alignment"]) for row in rows]
    model = ["--model", "cmi_rm", "--checkpoint", f"{BUNDLE}/sa_mean", "--device", "cpu", "--max-dur", "2"]
    before = stored(cache)
    assert before
    for keeping in (["--cache-dir", cache], ["--no-cache"]):
        done = cli("score", "--requests", requests, *model, *keeping, "--json", cache=False)
        assert done.exit_code == 0
        found = [json.loads(line) for line in done.stdout.splitlines()]
        assert [(one["musicality"], one["alignment"]) for one in found] == [
            pytest.approx(scores, abs=1e-4) for scores in expected
        ]
    assert stored(cache) == before
    scorer = cmi_bench.load_model("cmi_rm", checkpoint=BUNDLE / "sa_mean", device="cpu", max_dur=2)
    direct = [
        scorer.score(
            tiny / one["audio"], text=one["text"], lyrics=one["lyrics"],
            ref_audio=tiny / one["ref_audio"] if one["ref_audio"] else None,
        )
        for one in wanted
    ]  # fmt: skip
    assert [(one.musicality, one.alignment) for one in direct] == [
        pytest.approx(scores, abs=1e-4) for scores in expected
    ]


def test_the_installed_command_in_a_pipe(songs, tmp_path):
    """Stdout holds results only, a reader that leaves early is no error, and nothing is left in the folder."""
    before = sorted(path for path in songs.rglob("*"))
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    command = f"{COMMAND} score clean.wav takes --model signal --no-cache --json"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True, env=environment)
    assert len([json.loads(line) for line in done.stdout.splitlines()]) == 3
    done = subprocess.run(
        f"set -o pipefail; {command} | true",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
        env=environment,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(path for path in songs.rglob("*")) == before


SLOW_MODEL = """
import pathlib, time
class Slow:
    sr = 8000
    audio_input = "path"
    identity = "slow"
    def score_batch(self, inputs, batch_size, max_dur):
        with pathlib.Path("asked.txt").open("a") as file:
            file.writelines(one.audio + "\\n" for one in inputs)
        if pathlib.Path("wait").exists() and pathlib.Path("asked.txt").read_text().count("\\n") > 1:
            time.sleep(60)
        return [[0.0, 1.0] for _ in inputs]
"""


def test_a_command_that_was_stopped_goes_on(songs, tmp_path):
    (songs / "slow_for_test.py").write_text(SLOW_MODEL)
    (songs / "wait").touch()
    words = ["rank", "clean.wav", "takes", "--model", "custom", "--set", "model.class_path=slow_for_test:Slow"]
    words += ["--set", "batch_size=1", "--cache-dir", str(tmp_path / "cache")]
    environment = os.environ | {"PYTHONPATH": str(songs)}
    process = subprocess.Popen([COMMAND, *words], stderr=subprocess.PIPE, text=True, env=environment)
    asked = songs / "asked.txt"
    deadline = time.monotonic() + 60
    while not asked.exists() or asked.read_text().count("\n") < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Stopped. The scores made so far are kept" in said
    (songs / "wait").unlink()
    subprocess.run([COMMAND, *words], check=True, env=environment, capture_output=True)
    names = asked.read_text().split()
    assert len(names) == 4  # of three songs only the one that was being scored is asked for again
    assert len(set(names)) == 3
