"""Comparisons in notebooks."""

from dataclasses import replace

from scored_rows import HOSTILE, clips

from cmi_bench.config import MetricSettings
from cmi_bench.evaluation.comparison import compare_runs
from cmi_bench.evaluation.pairing import Run
from cmi_bench.reporting.notebook import comparison_html


def test_a_comparison_has_a_column_for_each_run():
    labels = [1.0, 2.0, 3.0, 4.0]
    runs = [Run(name, clips(labels, scores), name) for name, scores in (("good", labels), ("<b>", labels[::-1]))]
    comparison = compare_runs(runs, MetricSettings(resamples=100), alpha=0.05)
    assert len(repr(comparison)) < 1000
    assert "MusicEval musicality SRCC (n=4): good 1.0000" in repr(comparison)
    shown = comparison_html(replace(comparison, notes=(HOSTILE,)), "good and <b>")
    assert shown.count("<tr>") == 4
    assert "&lt;b&gt;</th>" in shown
    assert "-1.0000" in shown
    assert "</script>" not in shown
