"""What reads results keeps no rows of them: a million are then no other than a hundred."""

import pytest
from fleeting_rows import FleetingRows
from member_rows import member_rows

from cmi_bench.config import MetricSettings
from cmi_bench.data.audio_info import DurationTable
from cmi_bench.evaluation.comparison import SHOWN_DISAGREEMENTS, compare_runs
from cmi_bench.evaluation.evaluate import evaluate
from cmi_bench.evaluation.pairing import Run
from cmi_bench.reporting.html.format import ReportSource
from cmi_bench.reporting.html.page import write_page
from cmi_bench.reporting.viewer.audio import AudioMode, PageAudio
from cmi_bench.reporting.viewer.page import Bound, write_view
from cmi_bench.tracking import row_table as row_tables
from cmi_bench.tracking.row_table import row_table

FEW = 12
"""Rows that are in somebody's hands at once: of one loop, and those a page shows."""


@pytest.fixture(scope="module")
def lines():
    raters = {"ratings": {"musicality": {"anna": 3.0, "ben": 4.0}, "preference-musicality": {"anna": "model_a"}}}
    return [row | raters for row in member_rows(100)]


def test_an_evaluation_its_page_and_its_table_keep_no_rows(lines, tmp_path, monkeypatch):
    monkeypatch.setattr(row_tables, "MAX_ROWS", FEW)
    rows = FleetingRows(lines)
    settings = MetricSettings(resamples=20, by_duration=True)
    evaluation = evaluate(rows, settings, durations=DurationTable({"a.wav": 20.0}))
    assert len(evaluation.raters) == 1
    assert len(evaluation.uncertainty) == 2
    write_page(ReportSource(evaluation, rows, "run"), tmp_path)
    assert len(row_table(rows, evaluation.samples)["row"]) == FEW
    assert rows.most_alive <= FEW + 1


def test_a_comparison_keeps_the_rows_that_it_shows(lines):
    first, second = (
        FleetingRows(lines),
        FleetingRows([row | {"predicted_musicality": at} for at, row in enumerate(lines)]),
    )
    found = compare_runs(
        [Run("a", first, "a"), Run("b", second, "b")], MetricSettings(resamples=20, include_k_tau=False), alpha=0.05
    )
    assert second.most_alive <= 2
    assert len(found.disagreements) <= first.most_alive < 4 * SHOWN_DISAGREEMENTS + 3


def test_a_page_of_rows_keeps_those_that_it_shows(lines, tmp_path):
    rows = FleetingRows(lines)
    audio = PageAudio(AudioMode.NONE, [], tmp_path)
    page = write_view([Run("a", rows, "a")], MetricSettings(), tmp_path / "view.html", audio=audio, bound=Bound(FEW))
    assert page.n_rows == FEW
    assert rows.most_alive <= FEW + 1
