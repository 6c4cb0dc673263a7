"""`run.py` as processes: signals, several ranks, and what is never imported."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from cached_entries import entries
from command_line import PROJECT, run_task_here
from parity_rows import BUNDLE, write_parity_rows
from quick_runs import MODELS, cmi_rm_words, mini_words, read_rows, read_scores

pytestmark = pytest.mark.slow


@pytest.fixture
def environment(tmp_path):
    (tmp_path / "sleeper.py").write_text(MODELS)
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(PROJECT)])}


def command(folder, *words):
    return [sys.executable, str(PROJECT / "run.py"), f"hydra.run.dir={folder}", *words]


def run(folder, *words, env=None):
    return subprocess.run(command(folder, *words), capture_output=True, text=True, check=False, env=env)


def test_two_processes_give_the_same_results_file_as_one(mini_root, tmp_path):
    words = [*mini_words(mini_root), "model=signal", "subset=cmi_pref", "limit=12", "batch_size=3"]
    assert run(tmp_path / "one", *words, "+device=cpu").returncode == 0
    two = run(tmp_path / "two", *words, "+device=cpu_ddp")
    assert two.returncode == 0, two.stderr
    assert (tmp_path / "two/results.jsonl").read_bytes() == (tmp_path / "one/results.jsonl").read_bytes()
    assert len(list((tmp_path / "two/scores").glob("*.pack"))) == 2
    assert two.stdout.count("Results:") == 1


def test_more_processes_than_batches(mini_root, tmp_path):
    done = run(tmp_path, *mini_words(mini_root), "model=constant", "subset=pam", "limit=2", "+device=cpu_ddp")
    assert done.returncode == 0, done.stderr
    assert len(read_rows(tmp_path)) == 2


def test_a_failing_model_stops_all_ranks_and_keeps_the_scores(mini_root, tmp_path, environment):
    words = [
        *mini_words(mini_root),
        "model=custom",
        "model.class_path=sleeper:Breaks",
        "+device=cpu_ddp",
        "batch_size=4",
    ]
    done = run(tmp_path / "run", *words, env=environment)
    assert done.returncode == 1
    assert "row 5, clip B" in done.stderr
    assert "RuntimeError: boom" in done.stderr
    assert "on_error=record" in done.stderr
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "run/scores").iterdir())
    assert json.loads((tmp_path / "run/metadata.json").read_text())["status"] == "failed"


def test_ctrl_c_ends_cleanly(mini_root, tmp_path, environment):
    words = [*mini_words(mini_root), "model=custom", "model.class_path=sleeper:Sleeper", "+device=cpu", "batch_size=1"]
    process = subprocess.Popen(command(tmp_path / "run", *words), stderr=subprocess.PIPE, env=environment)
    scores = tmp_path / "run/scores"
    deadline = time.monotonic() + 60
    while not any(scores.glob("*")) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Stopped." in stderr
    assert b"Traceback" not in stderr
    assert list(scores.iterdir())


class Runner:
    """Starts `run.py model=cmi_rm` on the parity bundle's audio."""

    def __init__(self, root, cache):
        self.root, self.cache = root, cache

    def words(self, checkpoint, *words):
        device = [] if any(word.startswith("+device") for word in words) else ["+device=cpu"]
        return [*cmi_rm_words(self.root, self.cache, BUNDLE / checkpoint), *device, *words]

    def run(self, folder, checkpoint, *words):
        run_task_here(*self.words(checkpoint, *words), folder=folder)
        return json.loads((folder / "metadata.json").read_text())["counts"]

    def start(self, folder, checkpoint, *words):
        line = command(folder, *self.words(checkpoint, *words))
        return subprocess.Popen(line, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


@pytest.fixture
def runner(tmp_path):
    write_parity_rows(tmp_path / "root")
    return Runner(tmp_path / "root", tmp_path / "cache")


def test_two_ranks_give_the_scores_of_one(runner, tmp_path):
    runner.run(tmp_path / "one", "ca_glu", "cache.dir=null", "batch_size=2")
    two = runner.start(tmp_path / "two", "ca_glu", "cache.dir=null", "batch_size=2", "+device=cpu_ddp")
    assert two.wait() == 0
    for one, two in zip(read_scores(tmp_path / "one"), read_scores(tmp_path / "two"), strict=True):
        assert two == pytest.approx(one, abs=1e-5)


def test_a_run_that_was_killed_goes_on_and_ends_with_the_same_bytes(runner, tmp_path):
    words = ["batch_size=1"]
    whole = tmp_path / "whole"
    runner.run(whole, "sa_conv", *words, f"cache.dir={tmp_path}/other_cache")
    # Moments: something is encoded; something is scored.
    for embedded, scored in ((2, 0), (0, 1)):
        kill_when(runner, tmp_path / "killed", words, embedded=embedded, scored=scored)
        stored = entries(runner.cache / "scores")
        counts = runner.run(tmp_path / "killed", "sa_conv", *words)
        assert counts["chunks_from_cache"] > 0 or counts["from_store"] > 0
        assert counts["chunks_encoded"] < 6
        assert counts["from_store"] >= stored - 1
        assert (tmp_path / "killed/results.jsonl").read_bytes() == (whole / "results.jsonl").read_bytes()
        shutil.rmtree(runner.cache)


def kill_when(runner, folder, words, *, embedded, scored):
    """Start a run, and kill it as soon as so much is on disk."""
    process = runner.start(folder, "sa_conv", *words)
    deadline = time.monotonic() + 240
    while process.poll() is None and time.monotonic() < deadline:
        if entries(runner.cache / "embeddings") >= embedded and entries(runner.cache / "scores") >= scored:
            break
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_two_runs_may_fill_one_cache_at_once(runner, tmp_path):
    processes = [runner.start(tmp_path / name, "sa_none") for name in ("a", "b")]
    assert [process.wait() for process in processes] == [0, 0]
    for one, two in zip(read_scores(tmp_path / "a"), read_scores(tmp_path / "b"), strict=True):
        assert two == pytest.approx(one, abs=1e-5)


def test_torchrun_starts_the_ranks_as_well(runner, tmp_path):
    runner.run(tmp_path / "one", "sa_mean", "cache.dir=null")
    run = command(tmp_path / "two", *runner.words("sa_mean", "cache.dir=null", "+device=cpu_ddp"))[1:]
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *run],
        capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for one, two in zip(read_scores(tmp_path / "one"), read_scores(tmp_path / "two"), strict=True):
        assert two == pytest.approx(one, abs=1e-5)


def test_what_needs_no_torch_imports_none(mini_root, tmp_path):
    """Mistakes, `task=list`, and `task=evaluate`, which gives the metrics of the run itself."""
    run_task_here(*mini_words(mini_root), "model=random", "metrics=full", "+device=cpu", folder=tmp_path / "run")
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch/__init__.py").write_text("raise ImportError('torch is not for this task')")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(PROJECT)])}
    evaluate = ["task=evaluate", f"results={tmp_path}/run/results.jsonl", *mini_words(mini_root), "metrics=full"]
    for words in (
        [*mini_words(mini_root), "model=custom", "model.class_path=json:Jason"],
        [*mini_words(mini_root), "model=cmi_rm", "model.checkpoint=./gone"],
        ["model=signal", f"data.jsonl={tmp_path}/gone.jsonl"],
        ["limit=-1"],
        ["+subet=pam"],
        ["task=compare", "runs=[gone,gone]"],
    ):
        mistaken = run(tmp_path / "mistaken", *words, env=environment)
        assert mistaken.returncode == 1
        assert mistaken.stderr.count("\n  -> ") == 1
        assert "Traceback" not in mistaken.stderr
    for words in (evaluate, ["task=list"]):
        done = run(tmp_path / "evaluated", *words, env=environment)
        assert done.returncode == 0, done.stderr
    for name in ("metrics_summary.csv", "metrics_detail.csv"):
        assert (tmp_path / "evaluated" / name).read_bytes() == (tmp_path / "run" / name).read_bytes()


@pytest.mark.parametrize(
    ("words", "never"),
    [
        (["--help"], {"numpy", "scipy", "pandas", "torch", "lightning", "mlflow", "huggingface_hub", "soundfile"}),
        (["task=list"], {"scipy.stats", "pandas", "torch", "lightning", "mlflow", "huggingface_hub", "soundfile"}),
    ],
)
def test_what_is_over_at_once_imports_little(tmp_path, words, never):
    code = f"""
import atexit, sys
from cmi_bench.main import run
sys.argv = ["run.py"]
atexit.register(lambda: print(sorted({never} & set(sys.modules)), file=sys.stderr))
run({[*words, f"hydra.run.dir={tmp_path}"]})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[]"
    assert len(done.stdout.splitlines()) > 20
