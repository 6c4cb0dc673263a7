"""`kill -9` at random moments: the same command then ends with the results of an undisturbed run, and leaves nothing.

A few kills of each kind; `CMI_BENCH_KILLS=20` makes as many of each, `CMI_BENCH_KILL_SEED` others.
"""

import csv
import json
import os
import random
import signal
import time

import pytest
from fake_hub import Fault, serve
from filelock import FileLock
from mlflow import MlflowClient
from quick_runs import read_rows
from tiny_dataset import expected, upstream
from warm_start import start_command, start_run, wait_until

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("CMI_BENCH_KILLS", "2"))
SEED = int(os.environ.get("CMI_BENCH_KILL_SEED", "0"))
ORPHAN_SECONDS = 60.0
"""A loader's worker looks every few seconds whether its parent lives."""


class Command:
    """A command that is run again and again: killed, and then to its end."""

    def __init__(self, words, home, environment=None, start=start_run):
        self.environment = {**os.environ, **(environment or {})}
        self.words = words
        self.start_words = start
        self.home = home
        self.started = []

    def start(self):
        process = self.start_words(*self.words, folder=self.home, environment=self.environment)
        self.started.append(process)
        return process

    def finish(self):
        output = self.start().finish()
        assert "Traceback" not in output
        return output

    def kill_after(self, is_begun, seconds):
        """Kill the command so many seconds after it has begun its work; tell whether it was still running."""
        process = self.start()
        wait_until(is_begun, process)
        try:
            process.wait(seconds)
        except TimeoutError:
            process.kill()
        return process.wait() == -signal.SIGKILL

    def processes(self):
        """Return the processes that the command has left."""
        return [line for process in self.started for line in process.left()]

    def assert_nothing_is_left(self, *folders):
        deadline = time.monotonic() + ORPHAN_SECONDS
        while self.processes() and time.monotonic() < deadline:
            time.sleep(0.2)
        assert self.processes() == []
        for lock in [lock for folder in folders for lock in folder.rglob("*lock")]:
            with FileLock(lock, timeout=0):
                pass
        leftovers = [path for folder in folders for pattern in LEFTOVERS for path in folder.rglob(pattern)]
        assert leftovers == []


ATTEMPTS = 5
LEFTOVERS = ("*.partial", "batch_check", "*.arriving", ".*.tmp*")


def killed(name, command, begun, seconds, folder):
    """Yield commands that were killed at random moments of their work, each with its place.

    Args:
        name: Draws the moments, the same for a seed.
        command: Makes the command for a place.
        begun: What of a place shows that the work has begun.
        seconds: How long the work takes undisturbed.
        folder: Where places are.
    """
    rng = random.Random(f"{SEED} {name}")
    for number in range(KILLS):
        moment = rng.uniform(0, seconds)
        for attempt in range(ATTEMPTS):  # the machine may be faster than it was: then it was over, and is tried earlier
            place = folder / f"killed{number}_{attempt}"
            one = command(place)
            if one.kill_after((place / begun).exists, moment / 2**attempt):
                yield one, place
                break
        else:
            pytest.fail("the command was always over before it could be killed")


def measure(command, is_begun):
    """Run undisturbed; return how long the work took."""
    process = command.start()
    wait_until(is_begun, process)
    begun = time.monotonic()
    process.finish()
    return time.monotonic() - begun


def run_words(mini, place, store):
    data = [f"data.root={mini}", f"data.jsonl={mini}/all_test.jsonl", f"data.manifest={place}/manifest.parquet"]
    tracking = [f"tracking.uri=sqlite:///{store}/mlflow.db", f"tracking.artifacts={store}/artifacts"]
    quick = ["metrics.resamples=0", "metrics.report=false", "+device=cpu", "workers=1", "batch_size=2", "limit=3"]
    return ["data=mini", *data, f"cache.dir={place}/cache", *tracking, *quick]


def tracked(store):
    """Return the status of each run in MLflow."""
    client = MlflowClient(f"sqlite:///{store}/mlflow.db")
    experiment = client.get_experiment_by_name("cmi-rewardbench")
    return [run.info.status for run in client.search_runs([experiment.experiment_id])]


METRIC_FILES = ("metrics_summary.csv", "metrics_detail.csv", "metrics_intervals.csv")


def test_a_run_that_is_killed(mini_root, tmp_path):
    def command(place):
        place.mkdir()
        return Command([*run_words(mini_root, place, tmp_path), "model=signal", f"hydra.run.dir={place}/run"], place)

    calm = tmp_path / "calm"
    seconds = measure(command(calm), (calm / "run/metadata.json").exists)
    for one, place in killed("run", command, "run/metadata.json", seconds, tmp_path):
        one.finish()
        assert read_rows(place / "run") == read_rows(calm / "run")
        for name in METRIC_FILES:
            assert (place / "run" / name).read_bytes() == (calm / "run" / name).read_bytes()
        assert "RUNNING" not in tracked(tmp_path)
        one.assert_nothing_is_left(place)


def test_a_sweep_that_is_killed(mini_root, tmp_path):
    def command(place):
        place.mkdir()
        words = ["-m", *run_words(mini_root, place, tmp_path), "model=signal,constant"]
        return Command([*words, f"hydra.sweep.dir={place}/sweep"], place)

    calm = tmp_path / "calm"
    seconds = measure(command(calm), (calm / "sweep/0").exists)
    for one, place in killed("sweep", command, "sweep/0", seconds, tmp_path):
        one.finish()
        assert table(place / "sweep") == table(calm / "sweep")
        for job in ("0", "1"):
            assert read_rows(place / "sweep" / job) == read_rows(calm / "sweep" / job)
        assert "RUNNING" not in tracked(tmp_path)
        one.assert_nothing_is_left(place)


def table(folder):
    """Return the sweep's table without what differs from run to run."""
    (file,) = folder.glob("sweep*.csv")
    with file.open() as opened:
        return [
            {name: value for name, value in row.items() if "seconds" not in name and "folder" not in name}
            for row in csv.DictReader(opened)
        ]


def test_a_catalogue_that_is_killed(mini_root, tmp_path):
    songs = sorted(mini_root.rglob("*.mp3"))[:4]
    rows = [{"audio": str(songs[number % 4]), "text": f"take {number}"} for number in range(40)]

    def command(place):
        (place / "tmp").mkdir(parents=True)
        (place / "r.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        words = ["score", "--requests", "r.jsonl", "--out", "s", "--part-size", "6", "--model", "signal"]
        words += ["--cache-dir", "cache", "--device", "cpu"]
        return Command(words, place, {"TMPDIR": str(place / "tmp")}, start=start_command)

    calm = tmp_path / "calm"
    seconds = measure(command(calm), (calm / "s/part-000000.parquet").exists)
    wanted = {path.name: path.read_bytes() for path in (calm / "s").glob("*.parquet")}
    assert len(wanted) == 7
    for one, place in killed("catalogue", command, "s/.shard-1-of-1.lock", seconds, tmp_path):
        one.finish()
        assert {path.name: path.read_bytes() for path in (place / "s").glob("*.parquet")} == wanted
        assert list((place / "s").glob(".*.tmp")) == []
        assert [path for path in (place / "tmp").rglob("*") if path.is_file()] == []
        one.assert_nothing_is_left(place)


def test_a_preparation_that_is_killed(tmp_path):
    with serve(upstream()) as hub:
        clean = {"HF_HOME": str(tmp_path / "hf"), "HF_ENDPOINT": hub.address, "HF_TOKEN": ""}
        hub.faults = [Fault("", seconds_per_chunk=0.02)]

        def command(root):
            words = [word.replace(" ", "\\ ") for word in hub.prepare_words(root)]
            return Command([*words, "model=signal", f"hydra.run.dir={tmp_path}/run"], tmp_path, clean)

        seconds = measure(command(tmp_path / "calm"), (tmp_path / "calm").exists)
        for one, root in killed("prepare", command, ".", seconds, tmp_path):
            one.finish()
            for path, content in expected(hub).items():
                assert content is None or (root / path).read_bytes() == content
            one.assert_nothing_is_left(root)
            hub.log.clear()
            one.finish()
            assert hub.log == []
