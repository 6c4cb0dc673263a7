"""`run.py model=cmi_rm` on small checkpoints: shared embeddings, resuming after a kill, several ranks."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from parity_rows import write_parity_rows
from safetensors.torch import load_file, save_file

PROJECT = Path(__file__).parents[1]
PARITY = Path(__file__).parent / "data/parity/cmi_rm"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Three checkpoints that leave their encoders to one frozen MuQ-MuLan."""
    folder = tmp_path_factory.mktemp("checkpoints")
    for name in ("muq", "muq-mulan", "xlm-roberta", "sa_none", "sa_mean", "sa_conv"):
        shutil.copytree(PARITY / name, folder / name)
    for name in ("sa_none", "sa_mean", "sa_conv"):
        path = folder / name / "model.safetensors"
        head = {key: value for key, value in load_file(path).items() if not key.startswith(("audio_module", "text_m"))}
        save_file(head, path)
    return folder


class Runner:
    """Runs `run.py model=cmi_rm` on the parity bundle's audio."""

    def __init__(self, root, cache, run_here):
        self.root, self.cache, self.run_here = root, cache, run_here

    def words(self, checkpoint, *words):
        device = [] if any(word.startswith("+device") for word in words) else ["+device=cpu"]
        return [
            "model=cmi_rm", f"model.checkpoint={checkpoint}", f"data.root={self.root}",
            f"data.jsonl={self.root}/rows.jsonl", f"cache.dir={self.cache}", "tracking=none",
            "metrics.resamples=0", "metrics.report=false", "workers=0", *device, *words,
        ]  # fmt: skip

    def run(self, folder, checkpoint, *words):
        self.run_here(*self.words(checkpoint, *words), folder=folder)
        return json.loads((folder / "metadata.json").read_text())["counts"]

    def command(self, folder, checkpoint, *words):
        python = [sys.executable, str(PROJECT / "run.py"), f"hydra.run.dir={folder}"]
        return [*python, *self.words(checkpoint, *words)]

    def start(self, folder, checkpoint, *words):
        command = self.command(folder, checkpoint, *words)
        return subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


@pytest.fixture
def runner(tmp_path, run_here):
    root = tmp_path / "root"
    write_parity_rows(root)
    return Runner(root, tmp_path / "cache", run_here)


def scores(folder):
    rows = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    names = ("predicted_text-music alignment", "predicted_musicality")
    return [[row[name + side] for name in names for side in ("", "_b")] for row in rows]


def test_scores_are_those_of_the_bundle_and_the_rows_order_is_kept(runner, tmp_path):
    counts = runner.run(tmp_path / "run", PARITY / "sa_mean", "batch_size=3")
    expected = json.loads((PARITY / "expected.json").read_text())["scores"]["sa_mean"]["max_dur_120"]
    for row, (alignment, musicality) in zip(scores(tmp_path / "run"), expected, strict=True):
        assert row[0] == pytest.approx(alignment, abs=1e-4)
        assert row[2] == pytest.approx(musicality, abs=1e-4)
    assert counts["clips"] == 12
    assert counts["unique_audio"] == 5  # four clips and one reference, of 16 uses
    assert counts["chunks_encoded"] == 6  # one of them is longer than 30 s
    assert counts["failed"] == 0


def test_a_sweep_over_checkpoints_with_one_encoder_encodes_each_clip_once(runner, tmp_path, checkpoints):
    names = ("sa_none", "sa_mean", "sa_conv")
    counts = [runner.run(tmp_path / name, checkpoints / name) for name in names]
    assert [count["chunks_encoded"] for count in counts] == [6, 0, 0]
    assert [count["chunks_from_cache"] for count in counts] == [0, 6, 6]
    assert [count["texts_encoded"] for count in counts] == [8, 0, 0]
    assert len({json.dumps(scores(tmp_path / name)) for name in names}) == 3


def test_a_changed_checkpoint_under_the_same_name_is_another_model(runner, tmp_path, checkpoints):
    here = tmp_path / "models"
    shutil.copytree(checkpoints, here)
    runner.run(tmp_path / "first", here / "sa_mean")
    tensors = load_file(here / "sa_mean/model.safetensors")
    tensors["score_projector.3.bias"] = tensors["score_projector.3.bias"] + 1.0
    save_file(tensors, here / "sa_mean/model.safetensors")
    counts = runner.run(tmp_path / "second", here / "sa_mean")
    assert (counts["from_store"], counts["chunks_encoded"]) == (0, 0)
    for before, after in zip(scores(tmp_path / "first"), scores(tmp_path / "second"), strict=True):
        assert after == pytest.approx([value + 1.0 for value in before], abs=1e-5)


def test_two_ranks_give_the_scores_of_one(runner, tmp_path):
    runner.run(tmp_path / "one", PARITY / "ca_glu", "cache.dir=null", "batch_size=2")
    two = runner.start(tmp_path / "two", PARITY / "ca_glu", "cache.dir=null", "batch_size=2", "+device=cpu_ddp")
    assert two.wait() == 0
    for one, two in zip(scores(tmp_path / "one"), scores(tmp_path / "two"), strict=True):
        assert two == pytest.approx(one, abs=1e-5)


def test_a_run_that_was_killed_goes_on_and_ends_with_the_same_bytes(runner, tmp_path):
    words = ["batch_size=1"]
    whole = tmp_path / "whole"
    runner.run(whole, PARITY / "sa_conv", *words, f"cache.dir={tmp_path}/other_cache")
    # Moments: something is encoded; something is scored.
    for entries, scored in ((2, 0), (0, 1)):
        kill_when(runner, tmp_path / "killed", words, entries=entries, scored=scored)
        stored = sum(len(path.read_bytes().splitlines()) for path in runner.cache.rglob("scores/*/*.jsonl"))
        counts = runner.run(tmp_path / "killed", PARITY / "sa_conv", *words)
        assert counts["chunks_from_cache"] > 0 or counts["from_store"] > 0
        assert counts["chunks_encoded"] < 6
        assert counts["from_store"] >= stored - 1
        assert (tmp_path / "killed/results.jsonl").read_bytes() == (whole / "results.jsonl").read_bytes()
        shutil.rmtree(runner.cache)


def kill_when(runner, folder, words, *, entries, scored):
    """Start a run, and kill it as soon as so much is on disk."""
    process = runner.start(folder, PARITY / "sa_conv", *words)
    deadline = time.monotonic() + 90
    while process.poll() is None and time.monotonic() < deadline:
        embeddings = len(list(runner.cache.rglob("*.safetensors")))
        scores_there = sum(path.stat().st_size > 0 for path in runner.cache.rglob("scores/*/*.jsonl"))
        if embeddings >= entries and scores_there >= scored:
            break
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_two_runs_may_fill_one_cache_at_once(runner, tmp_path):
    processes = [runner.start(tmp_path / name, PARITY / "sa_none") for name in ("a", "b")]
    assert [process.wait() for process in processes] == [0, 0]
    for one, two in zip(scores(tmp_path / "a"), scores(tmp_path / "b"), strict=True):
        assert two == pytest.approx(one, abs=1e-5)


def test_torchrun_starts_the_ranks_as_well(runner, tmp_path):
    runner.run(tmp_path / "one", PARITY / "sa_mean", "cache.dir=null")
    run = runner.command(tmp_path / "two", PARITY / "sa_mean", "cache.dir=null", "+device=cpu_ddp")[1:]
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *run],
        capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for one, two in zip(scores(tmp_path / "one"), scores(tmp_path / "two"), strict=True):
        assert two == pytest.approx(one, abs=1e-5)
