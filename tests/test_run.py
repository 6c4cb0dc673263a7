"""The real thing: `run.py` as a subprocess, on the mini benchmark."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import run_command

from cmi_bench.errors import UserError

PROJECT = Path(__file__).parents[1]

pytestmark = pytest.mark.slow

SLEEPER = '''
import time
import numpy as np


class Sleeper:
    sr = 16000

    def score_batch(self, inputs, batch_size, max_dur, **kwargs):
        time.sleep(0.2)
        return np.zeros((len(inputs), 2))


class Breaks(Sleeper):
    """Fails on one clip."""

    def score_batch(self, inputs, batch_size, max_dur, **kwargs):
        if any(one.clip_id == "5:b" for one in inputs):
            raise RuntimeError("boom")
        return np.zeros((len(inputs), 2))


class WrongShape(Sleeper):
    def score_batch(self, inputs, batch_size, max_dur, **kwargs):
        return np.zeros(len(inputs))
'''


@pytest.fixture
def mini(mini_root):
    return mini_root


@pytest.fixture
def environment(tmp_path):
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    return os.environ | {"PYTHONPATH": str(tmp_path)}


def command(mini, folder, *words):
    data = [f"data.root={mini}", f"data.jsonl={mini}/all_test.jsonl"]
    quick = ["cache=off", "tracking=none", "metrics.resamples=0", "metrics.report=false"]
    return [sys.executable, str(PROJECT / "run.py"), "data=mini", *data, *quick, f"hydra.run.dir={folder}", *words]


def run(mini, folder, *words, env=None):
    return subprocess.run(command(mini, folder, *words), capture_output=True, text=True, check=False, env=env)


def sweep(mini, folder, *words):
    line = ["-m", *command(mini, folder / "unused", *words)[2:], f"hydra.sweep.dir={folder}"]
    return run_command(*line)


def results(folder):
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


def summary(folder):
    with (folder / "metrics_summary.csv").open() as file:
        return {(row["dataset"], row["task"]): row for row in csv.DictReader(file)}


def accuracies(folder):
    return {key: float(row["ACC"]) for key, row in summary(folder).items() if row["ACC"]}


OUTPUTS = {
    "results.jsonl",
    "metrics_summary.csv",
    "metrics_detail.csv",
    "metrics.json",
    "latex.txt",
    "report.html",
    "plots",
    "metadata.json",
    "config.yaml",
    "run.log",
}


def test_signal_on_mini_leaves_every_output_in_the_run_folder(mini, tmp_path):
    before = set((PROJECT / "outputs").iterdir())
    words = ["model=signal", "+device=cpu", "limit=6", "metrics.report=true", "metrics.resamples=100"]
    done = run(mini, tmp_path / "run", *words)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "run").iterdir()} >= OUTPUTS
    assert set((PROJECT / "outputs").iterdir()) == before
    assert "CMI-Pref" in done.stdout
    assert str(tmp_path / "run") in done.stdout
    metadata = json.loads((tmp_path / "run/metadata.json").read_text())
    assert metadata["status"] == "finished"
    assert metadata["counts"]["scored"] == metadata["counts"]["clips"] == 36
    data = metadata["data"]
    assert data["audio_files"] > 20
    assert data["audio_decoders"] == {"soundfile": data["audio_files"]}
    assert {len(data[key]) for key in ("audio_sha256", "manifest_sha256", "jsonl_sha256")} == {64}
    assert metadata["counts"]["failed"] == 0
    assert metadata["config"]["seed"] == 0
    assert set(metadata["counts"]["rows"]) == {"PAM", "MusicEval", "MusicArena", "CMI-Pref"}
    assert sum(metadata["counts"]["rows"].values()) == len(results(tmp_path / "run")) == 24


@pytest.mark.parametrize(("model", "expected"), [("oracle", 1.0), ("reversed_oracle", 0.0), ("constant", 0.5)])
def test_known_answers(mini, tmp_path, model, expected, run_here, capsys):
    # Rows whose label is a tie are worth 0.5 to anyone with a preference, so they are left out here.
    lines = [json.loads(line) for line in (mini / "all_test.jsonl").read_text().splitlines()]
    ties = {"both", "neither", "TIE", "BOTH_BAD"}
    labels = ("preference", "preference-musicality", "preference-alignment")
    kept = [line for line in lines if not any(line.get(label) in ties for label in labels)]
    assert len(kept) < len(lines)
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in kept))
    words = command(mini, tmp_path / "run", f"model={model}", "+device=cpu", f"data.jsonl={tmp_path}/rows.jsonl")[2:]
    run_here(*words, folder=tmp_path / "run")
    found = accuracies(tmp_path / "run")
    assert found == dict.fromkeys(found, expected)
    assert len(found) == 3
    if model == "constant":
        assert "undef." in capsys.readouterr().out  # a correlation over a constant is not 0
    else:
        assert float(summary(tmp_path / "run")[("PAM", "musicality")]["SRCC"]) == pytest.approx(2 * expected - 1)


def test_two_processes_give_the_same_results_file_as_one(mini, tmp_path):
    words = ["model=signal", "subset=cmi_pref", "limit=12", "batch_size=3"]
    assert run(mini, tmp_path / "one", *words, "+device=cpu").returncode == 0
    two = run(mini, tmp_path / "two", *words, "+device=cpu_ddp")
    assert two.returncode == 0, two.stderr
    assert (tmp_path / "two/results.jsonl").read_bytes() == (tmp_path / "one/results.jsonl").read_bytes()
    assert len(list((tmp_path / "two/scores").iterdir())) == 2
    assert two.stdout.count("Results:") == 1


def test_more_processes_than_batches(mini, tmp_path):
    done = run(mini, tmp_path, "model=constant", "subset=pam", "limit=2", "+device=cpu_ddp")
    assert done.returncode == 0, done.stderr
    assert len(results(tmp_path)) == 2


def test_a_gpu_that_is_not_there_is_named(mini, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    done = run_command(*command(mini, tmp_path, "model=signal", "device=cuda:1")[2:])
    assert done.returncode == 1
    assert "Asked for cuda:1; this machine has no CUDA device" in done.stderr
    assert "device=cpu" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_failing_model_stops_all_ranks_and_keeps_the_scores(mini, tmp_path, environment):
    words = ["model=custom", "model.class_path=sleeper:Breaks", "+device=cpu_ddp", "batch_size=4"]
    done = run(mini, tmp_path / "run", *words, env=environment)
    assert done.returncode == 1
    assert "row 5, clip B" in done.stderr
    assert "RuntimeError: boom" in done.stderr
    assert "on_error=record" in done.stderr
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "run/scores").iterdir())
    assert json.loads((tmp_path / "run/metadata.json").read_text())["status"] == "failed"


@pytest.fixture
def here(mini, tmp_path, run_here, monkeypatch):
    """Runs a model of `sleeper.py` in this process."""
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    monkeypatch.syspath_prepend(tmp_path)

    def run(*words, root=mini):
        run_here(*command(root, tmp_path / "run", *words, "+device=cpu", "workers=0")[2:], folder=tmp_path / "run")

    yield run
    sys.modules.pop("sleeper", None)


def test_a_failing_model_is_named_with_its_clip(here, tmp_path):
    with pytest.raises(UserError, match=r"row 5, clip B .*RuntimeError: boom"):
        here("model=custom", "model.class_path=sleeper:Breaks")
    assert json.loads((tmp_path / "run/metadata.json").read_text())["status"] == "failed"


def test_failures_are_recorded_and_counted_where_that_is_asked_for(here, tmp_path, capsys):
    here("model=custom", "model.class_path=sleeper:Breaks", "on_error=record")
    assert "failed" in capsys.readouterr().out
    broken = [row for row in results(tmp_path / "run") if row["inference_error"]]
    assert [row["inference_valid_b"] for row in broken] == [False]
    assert summary(tmp_path / "run")[("CMI-Pref", "musicality")]["n_failed"] == "1"


def test_a_wrong_shape_is_shown_beside_the_right_one(here):
    with pytest.raises(UserError, match=r"returned shape \[8\] for 8 clips; expected \[8, 2\]"):
        here("model=custom", "model.class_path=sleeper:WrongShape", "on_error=record")


def test_missing_audio_is_counted_before_a_model_is_loaded(here, mini, tmp_path):
    root = tmp_path / "damaged"
    shutil.copytree(mini, root)
    for path in sorted((root / "MusicEval_data/test_audio").iterdir())[:7]:
        path.unlink()
    words = ["model=constant", "subset=musiceval", "data.synthesise=false"]
    with pytest.raises(UserError, match=r"7 audio files are missing .* and 2 more") as error:
        here(*words, "+model.class_path=no_such:Model", root=root)
    assert "task=prepare" in error.value.hint
    here(*words, "on_error=record", root=root)
    assert summary(tmp_path / "run")[("MusicEval", "musicality")]["n_failed"] == "7"


def test_ctrl_c_ends_cleanly(mini, tmp_path, environment):
    words = ["model=custom", "model.class_path=sleeper:Sleeper", "+device=cpu", "batch_size=1"]
    process = subprocess.Popen(command(mini, tmp_path / "run", *words), stderr=subprocess.PIPE, env=environment)
    scores = tmp_path / "run/scores"
    deadline = time.monotonic() + 60
    while not scores.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Stopped." in stderr
    assert b"Traceback" not in stderr
    assert list(scores.iterdir())


def test_evaluate_gives_the_same_metrics_without_torch(here, mini, tmp_path):
    here("model=random", "metrics=full")
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch/__init__.py").write_text("raise ImportError('torch is not for task=evaluate')")
    words = ["task=evaluate", f"results={tmp_path}/run/results.jsonl", "metrics=full"]
    done = run(mini, tmp_path / "evaluated", *words, env=os.environ | {"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    for name in ("metrics_summary.csv", "metrics_detail.csv"):
        assert (tmp_path / "evaluated" / name).read_bytes() == (tmp_path / "run" / name).read_bytes()


def test_a_sweep_runs_each_job_in_its_own_folder(mini, tmp_path):
    done = sweep(mini, tmp_path, "model=constant,oracle", "subset=pam", "+device=cpu")
    assert done.returncode == 0, done.stderr
    assert [len(results(tmp_path / job)) for job in ("0", "1")] == [30, 30]


def test_a_sweep_over_several_devices_per_job_is_refused(mini, tmp_path):
    done = sweep(mini, tmp_path, "model=constant", "+device=cpu_ddp")
    assert done.returncode == 1
    assert "A sweep runs each job on one device" in done.stderr
    assert "Traceback" not in done.stderr
