"""A dataset and a metric that are registered from outside the package are in every table, report and MLflow key."""

from collections import Counter

import numpy as np
import pytest
from registries import restored_registries

from cmi_bench.config import MetricSettings
from cmi_bench.data.datasets import Dataset, MosTask, register_dataset
from cmi_bench.evaluation.evaluate import evaluate
from cmi_bench.evaluation.metrics import EVERYWHERE, Metric, Shown, Statistic, register_metric
from cmi_bench.evaluation.pairing import Run
from cmi_bench.reporting.html.format import ReportSource
from cmi_bench.reporting.html.page import write_page
from cmi_bench.reporting.leaderboard.build import build_leaderboard
from cmi_bench.reporting.leaderboard.render import write_leaderboard
from cmi_bench.reporting.metrics import write_reports
from cmi_bench.reporting.sweep import sweep_csv, sweep_markdown
from cmi_bench.reporting.sweep_jobs import SweepJob, values_of
from cmi_bench.reporting.terminal import summary_text
from cmi_bench.tracking.metrics import recorded_metrics
from cmi_bench.types import Aspect

ROWS = [
    {
        "source": "demo collection",
        "split": "test",
        "audio-path": f"{number}.wav",
        "prompt": f"prompt {number // 2}",
        "musicality": 1.0 + number % 5,
        "predicted_musicality": 0.1 * number,
        "inference_valid_a": True,
    }
    for number in range(12)
]


def blomqvist(label, prediction):
    """Blomqvist's beta: the share of points in the quadrants of equal sign about the medians, from -1 to 1."""
    return Statistic(float(np.mean(np.sign(label - np.median(label)) * np.sign(prediction - np.median(prediction)))))


@pytest.fixture
def registered():
    with restored_registries():
        register_dataset(
            Dataset(
                name="Demo",
                slug="demo",
                tasks=(MosTask("musicality", Aspect.MUSICALITY, "musicality"),),
                owns_source=lambda source: source == "demo collection",
            )
        )
        register_metric(Metric("Beta", MosTask, blomqvist, shown=EVERYWHERE & ~Shown.HEADLINE))
        yield


@pytest.fixture
def evaluation(registered):
    return evaluate(ROWS, MetricSettings(resamples=50, by_duration=False))


def test_csv_json_and_latex(evaluation, tmp_path):
    paths = write_reports(evaluation, tmp_path, label="mine")
    header, line = paths.summary_csv.read_text().splitlines()
    assert {"SRCC", "Beta", "Beta_ci_low"} <= set(header.split(","))
    assert line.startswith("Demo,musicality,12,")
    assert '"Beta": ' in paths.json.read_text()
    assert ",Beta," in paths.intervals_csv.read_text()
    assert "% Demo musicality: variant, LCC, SRCC, K-Tau, Beta\nmine & " in paths.latex.read_text()


def test_terminal(evaluation):
    text = summary_text(evaluation)
    assert "Demo" in text
    assert "Beta" in text


def test_html(evaluation, tmp_path):
    page = write_page(ReportSource(evaluation, ROWS, "mine", []), tmp_path)[0].read_text()
    assert "Demo" in page
    assert "Beta" in page


def test_leaderboard(registered, tmp_path):
    board = build_leaderboard([Run("mine", ROWS, "here")], MetricSettings(resamples=50), alpha=0.05)
    files = write_leaderboard(board, tmp_path)
    assert {file.suffix for file in files} == {".csv", ".md", ".tex", ".html"}
    for file in files:
        assert "Demo" in file.read_text()
        assert "Beta" in file.read_text()
    own = [row for table in board.tables for row in table.rows if row.label == "mine"]
    value = evaluate(ROWS).summary[0].metrics["Beta"]
    assert own[0].cells["Demo_Beta"].value == pytest.approx(value)


def test_sweep(evaluation, tmp_path):
    summary = [{"dataset": "Demo", "task": "musicality", **evaluation.summary[0].metrics}]
    jobs = [
        SweepJob(number=n, label=f"job {n}", step=n, status="finished", folder=tmp_path, values=values_of(summary))
        for n in range(2)
    ]
    assert "Demo/musicality/Beta" in sweep_csv(jobs).splitlines()[0]
    assert "Demo musicality SRCC" in sweep_markdown("mine", jobs, None)


def test_what_is_recorded(evaluation):
    recorded = recorded_metrics(evaluation.summary, {"counts": Counter(), "seconds": {"wall": 1.0}})
    assert {"Demo/musicality SRCC", "Demo/musicality Beta"} <= {one.name for one in recorded}
