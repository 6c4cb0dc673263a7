"""A sweep's table as text, and which plot it gets."""

import csv
import io
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from rich.console import Console
from scored_rows import HOSTILE

from cmi_bench.evaluation.metrics import MetricKey
from cmi_bench.reporting.sweep import (
    SignificanceGroups,
    metrics_plot,
    sweep_csv,
    sweep_markdown,
    sweep_view,
)
from cmi_bench.reporting.sweep_jobs import SweepJob, Value, has_steps, values_of
from cmi_bench.utils.console import plain_text

SRCC = MetricKey("PAM", "musicality", "SRCC")
LCC = MetricKey("PAM", "musicality", "LCC")


def job(number, step, value, **other):
    values = {} if value is None else {SRCC: Value(value, value - 0.1, value + 0.1), LCC: Value(value, None, None)}
    named = {"label": f"step_{step}", "status": "finished", "folder": Path(str(number))} | other
    return SweepJob(number=number, step=step, values=values, **named)


JOBS = [job(0, 500, 0.25), job(1, 1000, None, status="failed", message="no | weights\nhint"), job(2, 2000, 0.5)]


def test_csv_has_each_job_with_all_its_metrics():
    first, failed, last = csv.DictReader(io.StringIO(sweep_csv(JOBS)))
    assert (first["step"], first[str(SRCC)], first[f"{SRCC}_ci_low"]) == ("500", "0.25", "0.15")
    assert (last[str(LCC)], last[f"{LCC}_ci_low"]) == ("0.5", "")
    assert (failed["status"], failed[str(SRCC)], failed["message"]) == ("failed", "", "no | weights\nhint")


def test_markdown_has_the_main_metrics_the_best_in_bold_and_the_reason():
    text = sweep_markdown(
        "a_sweep", JOBS, SignificanceGroups({(SRCC, "step_500"): "b", (SRCC, "step_2000"): "a"}, 0.05)
    )
    assert "# a\\_sweep" in text
    assert "| 0 | step\\_500 | finished | 0.2500 b |" in text
    assert "| 1 | step\\_1000 | failed |  |" in text
    assert "| 2 | step\\_2000 | finished | **0.5000** a |" in text
    assert "- step\\_1000: no \\| weights\n" in text
    assert "LCC" not in text


def test_a_single_job_is_not_the_best_of_anything():
    assert "**" not in sweep_markdown("one", JOBS[:1], None)


def test_by_step_only_where_all_that_finished_are_steps_of_one_training():
    assert has_steps(JOBS)
    assert not has_steps([*JOBS, job(3, None, 0.5)])
    assert not has_steps([*JOBS, job(3, 500, 0.5)])
    assert metrics_plot(JOBS).name == "metrics_by_step"
    assert metrics_plot([job(0, None, 0.5), job(1, None, 0.6)]).name == "metrics_by_job"
    assert metrics_plot([JOBS[1]]) is None


def test_undefined_metrics_are_left_out():
    line = {"dataset": "PAM", "task": "musicality", "n": 3, "SRCC": None, "LCC": 0.5, "LCC_ci_low": 0.1}
    assert values_of([line]) == {LCC: Value(0.5, 0.1, None)}


def test_a_label_may_hold_anything():
    jobs = [job(0, None, 0.5, label=HOSTILE), job(1, None, None, label="b", status="failed", message=HOSTILE)]
    ElementTree.fromstring(metrics_plot(jobs).svg)
    assert "'=1+cmd()" in sweep_csv(jobs)
    assert len(sweep_markdown(HOSTILE, jobs, None).encode().splitlines()) == 8
    assert "\x1b" not in plain_text(sweep_view(jobs, None))


def test_what_has_to_be_known_of_the_rows_stands_below_the_table():
    assert sweep_markdown("a", JOBS, None, ["made_up"]).endswith("\n\nmade\\_up\n")
    assert plain_text(sweep_view(JOBS, None, ["made_up"])).endswith("made_up\n")


def test_the_best_of_a_column_is_bold_in_a_terminal():
    console = Console(force_terminal=True, color_system="standard", width=100, file=io.StringIO())
    console.print(sweep_view(JOBS, None))
    text = console.file.getvalue()
    assert "\x1b[1m 0.5000" in text
    assert "\x1b[1m 0.2500" not in text


def drawn(jobs):
    """Where the jobs' marks are, from left to right [n, 2], and whether a line joins them."""
    root = ElementTree.fromstring(metrics_plot(jobs).svg)
    points = np.array([(float(one.get("x")), float(one.get("y"))) for one in root.iter() if one.tag.endswith("use")])
    joined = [one.get("d") or "" for one in root.iter() if one.tag.endswith("path")]
    corners = [np.array(re.findall(r"[ML] (\S+) (\S+)", one), dtype=float) for one in joined]
    return points, any(one.shape == points.shape and np.allclose(one, points, atol=0.01) for one in corners)


def test_steps_are_drawn_to_scale_and_joined_and_other_jobs_stand_side_by_side():
    points, is_joined = drawn([job(0, 0, 0.25), job(1, 10, 0.75), job(2, 40, 0.5)])
    left, middle, right = points[:, 0]
    assert (middle - left) / (right - left) == pytest.approx(0.25, abs=1e-3)
    assert is_joined
    points, is_joined = drawn([job(0, None, 0.25), job(1, None, 0.75), job(2, None, 0.5)])
    left, middle, right = points[:, 0]
    assert middle - left == pytest.approx(right - middle, abs=1e-3)
    assert (points[0, 1] - points[2, 1]) / (points[0, 1] - points[1, 1]) == pytest.approx(0.5, abs=1e-3)
    assert not is_joined
