import csv
import io
import json

import pytest

from cmi_bench.config import MetricSettings
from cmi_bench.evaluation.evaluate import evaluate
from cmi_bench.reporting.metrics import detail_csv, intervals_csv, metrics_json, summary_csv

ASKED_FOR = [
    *("dataset", "task", "group_key", "group_value", "ref_category", "metric", "value", "ci_low", "ci_high", "n"),
    *("n_failed", "n_unlabelled", "n_tied_prediction", "n_tied_label", "protocol", "seed", "resamples", "cluster"),
    *("exact_low", "exact_high"),
]


def read(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_a_line_for_each_metric_that_has_a_value(evaluation):
    lines = read(intervals_csv(evaluation))
    assert list(lines[0])[: len(ASKED_FOR)] == ASKED_FOR
    measured = [
        (record.dataset, name, value)
        for record in (*evaluation.summary, *evaluation.detail)
        for name, value in record.metrics.items()
        if value is not None
    ]
    assert [(line["dataset"], line["metric"], float(line["value"])) for line in lines] == measured
    pairs = next(line for line in lines if line["metric"] == "ACC")
    assert [pairs[name] for name in ASKED_FOR[9:18]] == ["3", "1", "1", "1", "0", "strict", "0", "10000", "prompt"]
    interval = evaluation.summary[3].intervals["ACC"]
    assert (float(pairs["ci_low"]), float(pairs["ci_high"])) == (interval.low, interval.high)
    assert (pairs["exact_low"], pairs["n_clusters"], pairs["n_degenerate"], pairs["no_interval"]) == ("", "3", "0", "")


def test_groups_are_told_and_reasons_are_given(evaluation):
    line = next(line for line in read(intervals_csv(evaluation)) if line["group_key"] == "confidence")
    assert (line["group_value"], line["ref_category"]) == (">3", "no_ref")
    few = next(line for line in read(intervals_csv(evaluation)) if line["metric"] == "SRCC")
    assert (few["ci_low"], few["no_interval"][:12]) == ("", "undefined in")


def test_the_tables_have_the_bounds_after_their_other_columns(evaluation):
    summary, detail = read(summary_csv(evaluation.summary)), read(detail_csv(evaluation.detail))
    interval = evaluation.summary[3].intervals["ACC"]
    assert (float(summary[3]["ACC_ci_low"]), float(summary[3]["ACC_ci_high"])) == (interval.low, interval.high)
    assert summary[3]["SRCC_ci_low"] == ""
    assert {"ACC_ci_low", "ACC_ci_high", "SRCC_ci_low", "SRCC_ci_high", "ACC_exact_low", "ACC_exact_high"} < set(
        detail[0]
    )


def test_an_accuracy_without_half_credits_has_the_exact_interval_beside_it(mixed):
    (record,) = read(summary_csv(evaluate([mixed[3]] * 5).summary)[:])[1:]
    assert float(record["ACC_exact_low"]) == pytest.approx(0.4782, abs=1e-4)
    assert float(record["ACC_exact_high"]) == 1.0


def test_the_json_has_bounds_and_how_they_were_made(evaluation):
    document = json.loads(metrics_json(evaluation))
    made = {name: document["config"]["metrics"][name] for name in ("resamples", "confidence", "cluster", "seed")}
    assert made == {"resamples": 10_000, "confidence": 0.95, "cluster": "prompt", "seed": 0}
    assert document["summary"][3]["ACC_ci_low"] == evaluation.summary[3].intervals["ACC"].low


def test_without_intervals_the_values_are_there(mixed):
    off = evaluate(mixed, MetricSettings(resamples=0))
    lines = read(intervals_csv(off))
    assert lines
    assert all(line["value"] and not line["ci_low"] and not line["exact_low"] for line in lines)
    assert all(line["resamples"] == "0" for line in lines)
