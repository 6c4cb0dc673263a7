"""What a sweep finds in its jobs' folders."""

import json

import pytest

from cmi_bench.evaluation.metrics import MetricKey
from cmi_bench.reporting.sweep_jobs import read_outcomes
from cmi_bench.sweeps.jobs import recorded_job
from cmi_bench.tracking.sweep_plan import PlannedJob, SweepPlan

PLAN = SweepPlan("a sweep", ("seed",), tuple(PlannedJob(n, (f"seed={n}",), f"seed={n}", None) for n in range(4)), None)


def test_finished_failed_killed_and_not_run(tmp_path):
    with recorded_job(tmp_path / "0", ["seed=0"], "key"):
        line = {
            "dataset": "PAM",
            "task": "musicality",
            "SRCC": 0.5,
            "SRCC_ci_low": 0.4,
            "SRCC_ci_high": 0.6,
            "ACC": None,
        }
        (tmp_path / "0/metrics.json").write_text(json.dumps({"summary": [line]}))
    with pytest.raises(ValueError, match="broken"), recorded_job(tmp_path / "1", ["seed=1"], "key"):
        raise ValueError("broken")
    with recorded_job(tmp_path / "2", ["seed=2"], "key"):
        as_it_runs = (tmp_path / "2/job.json").read_bytes()
    (tmp_path / "2/job.json").write_bytes(as_it_runs)  # as SIGKILL leaves it
    with recorded_job(tmp_path / "3", ["seed=33"], "key"):  # of another sweep
        pass
    jobs = read_outcomes(PLAN, tmp_path)
    assert [job.status for job in jobs] == ["finished", "failed", "killed", "not run"]
    assert jobs[0].values == {MetricKey("PAM", "musicality", "SRCC"): (0.5, 0.4, 0.6)}
    assert jobs[1].message == "ValueError: broken"
    assert "memory" in jobs[2].message
