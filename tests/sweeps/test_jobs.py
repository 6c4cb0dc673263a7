"""The jobs of a sweep: their labels, and when a job is the same job."""

import os

import pytest
from omegaconf import OmegaConf

from cmi_bench.sweeps.jobs import fingerprint, plan_jobs, recorded_job, swept_keys, was_finished
from cmi_bench.tracking.job_record import read_record


def test_a_finished_job_is_taken_over_by_a_command_that_means_the_same(tmp_path):
    with recorded_job(tmp_path, ["seed=0"], "key"):
        pass
    assert not was_finished(tmp_path, ["seed=0"], "other")
    assert was_finished(tmp_path, ["seed=0", "workers=4"], "key")
    assert read_record(tmp_path).overrides == ("seed=0", "workers=4")


@pytest.mark.slow
def test_it_follows_the_files_and_all_that_changes_a_number(tmp_path):
    (tmp_path / "ckpt").mkdir()
    weights, rows = tmp_path / "ckpt/model.safetensors", tmp_path / "rows.jsonl"
    weights.write_bytes(b"a")
    rows.write_text("{}\n")

    def key(**changed):
        cfg = {
            "model": {"checkpoint": str(weights.parent), "other": None},
            "data": {"root": str(tmp_path), "jsonl": "${data.root}/rows.jsonl", "csv": None, "own": {}},
            "max_dur": 30,
            "trainer": {"devices": [0]},
        }
        return fingerprint(OmegaConf.create(cfg | changed))

    first = key()
    assert key() == first
    assert key(trainer={"devices": [1]}) == first
    assert key(max_dur=60) != first
    weights.write_bytes(b"ab")
    second = key()
    assert second != first
    rows.write_text("{}\n{}\n")
    third = key()
    assert third not in (first, second)
    # Time and size tell each by itself: other weights of the same size, and other rows that were given the old time.
    weights.write_bytes(b"cd")
    written = weights.stat().st_mtime_ns
    os.utime(weights, ns=(written, written + 10**9))
    fourth = key()
    assert fourth not in (first, second, third)
    written = rows.stat().st_mtime_ns
    rows.write_text("{}\n{}\n{}\n")
    os.utime(rows, ns=(written, written))
    assert key() not in (first, second, third, fourth)


def test_it_follows_the_models_code(tmp_path, monkeypatch):
    source = tmp_path / "job_model_for_test.py"
    source.write_text("class Mine:\n    sr = 8000\n")
    monkeypatch.syspath_prepend(tmp_path)
    cfg = {"model": {"class_path": "job_model_for_test:Mine"}, "data": {"jsonl": "rows.jsonl", "csv": None, "own": {}}}
    first = fingerprint(OmegaConf.create(cfg))
    source.write_text("class Mine:\n    sr = 8000  # Hz\n")
    assert fingerprint(OmegaConf.create(cfg)) == first
    source.write_text("class Mine:\n    sr = 16000\n")
    assert fingerprint(OmegaConf.create(cfg)) != first


def labels(*overrides):
    return [job.label for job in plan_jobs(overrides, swept_keys(overrides, ["max_dur"]))]


def test_jobs_are_named_by_what_they_differ_in():
    assert labels(["model=signal", "max_dur=5", "a.b=1"], ["model=random", "max_dur=5", "a.b=1"]) == [
        "signal",
        "random",
    ]
    assert labels(["model=signal", "a.max_dur=5"], ["model=random", "a.max_dur=10"]) == [
        "signal max_dur=5",
        "random max_dur=10",
    ]
    assert labels(["max_dur=5", "seed=1"]) == ["max_dur=5"]
    assert labels(["model.checkpoint='x/a b,c/step_5'"], ["model.checkpoint=y/step_6"]) == ["step_5", "step_6"]
    assert labels(["model.checkpoint=x/step_5"], ["model.checkpoint=y/step_5"]) == ["x/step_5", "y/step_5"]
    assert len(set(labels(["seed=1"], ["seed=1"]))) == 2


def test_jobs_keep_their_numbers_and_new_ones_get_free_ones(tmp_path):
    def plan(*steps, changed=()):
        overrides = [[f"max_dur={step}"] for step in steps]
        prints = [f"print {step}{' changed' if step in changed else ''}" for step in steps]
        jobs = plan_jobs(overrides, ["max_dur"], fingerprints=prints, folder=tmp_path)
        for job, one in zip(jobs, prints, strict=True):
            with recorded_job(tmp_path / str(job.number), list(job.overrides), one, label=job.label):
                pass
        return [job.number for job in jobs]

    assert plan(5, 10) == [0, 1]
    assert plan(1, 5, 7, 10) == [2, 0, 3, 1]
    assert plan(10) == [1]
    assert plan(1, 5, 7, 10, changed=[10]) == [2, 0, 3, 1]
    assert plan(5, 5) == [0, 4]
    (tmp_path / "5/.hydra").mkdir(parents=True)  # killed before it was recorded
    (tmp_path / "5/run.log").touch()
    (tmp_path / "6").mkdir()
    (tmp_path / "6/mine.txt").touch()
    assert plan(20, 21) == [5, 7]
