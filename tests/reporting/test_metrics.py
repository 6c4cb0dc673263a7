"""The metric files: CSV, intervals, JSON, LaTeX lines, and all of them in a folder."""

import csv
import io
import json
import math

import pytest
import scipy
from scored_rows import arena

from cmi_bench.config import MetricSettings
from cmi_bench.evaluation.evaluate import evaluate
from cmi_bench.reporting.metrics import detail_csv, intervals_csv, latex_lines, metrics_json, summary_csv, write_reports

PUBLIC_SUMMARY = ["dataset", "task", "n", "SRCC", "LCC", "K-Tau", "ACC"]
PUBLIC_DETAIL = ["dataset", "task", "group_key", "group_value", "n", "ACC", "ref_category", "SRCC"]


def read(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_the_public_columns_come_first(evaluation):
    assert summary_csv(evaluation.summary).splitlines()[0].split(",")[:7] == PUBLIC_SUMMARY
    assert detail_csv(evaluation.detail).splitlines()[0].split(",")[:8] == PUBLIC_DETAIL


def test_without_records_there_is_the_header(nothing):
    assert summary_csv(nothing.summary).startswith("dataset,")
    assert detail_csv(nothing.detail).count("\n") == 1


def test_cells_are_numbers_with_all_digits_or_empty(evaluation):
    constant, fine, not_applicable, pairs = read(summary_csv(evaluation.summary))
    assert float(fine["SRCC"]) == evaluation.summary[1].metrics["SRCC"]
    assert fine["ACC"] == ""
    assert (constant["SRCC"], constant["status"]) == ("", "undefined")
    assert (not_applicable["ACC"], not_applicable["n"], not_applicable["status"]) == ("", "0", "not applicable")
    assert float(pairs["ACC"]) == 0.5
    counts = [pairs[name] for name in ("n", "n_failed", "n_unlabelled", "n_tied_prediction", "n_tied_label")]
    assert counts == ["3", "1", "1", "1", "0"]
    assert {row["protocol"] for row in (constant, fine, not_applicable, pairs)} == {"strict"}


def test_groups_are_told_in_their_columns(evaluation):
    line = next(row for row in read(detail_csv(evaluation.detail)) if row["group_key"] == "confidence")
    assert [line[name] for name in PUBLIC_DETAIL[:5]] == ["CMI-Pref", "musicality", "confidence", ">3", "3"]
    assert line["ref_category"] == "no_ref"


INTERVAL_COLUMNS = [
    *("dataset", "task", "group_key", "group_value", "ref_category", "metric", "value", "ci_low", "ci_high", "n"),
    *("n_failed", "n_unlabelled", "n_tied_prediction", "n_tied_label", "protocol", "seed", "resamples", "cluster"),
    *("exact_low", "exact_high"),
]


def test_a_line_for_each_metric_that_has_a_value(evaluation):
    lines = read(intervals_csv(evaluation))
    assert list(lines[0])[: len(INTERVAL_COLUMNS)] == INTERVAL_COLUMNS
    measured = [
        (record.dataset, name, value)
        for record in (*evaluation.summary, *evaluation.detail)
        for name, value in record.metrics.items()
        if value is not None
    ]
    assert [(line["dataset"], line["metric"], float(line["value"])) for line in lines] == measured
    pairs = next(line for line in lines if line["metric"] == "ACC")
    assert [pairs[name] for name in INTERVAL_COLUMNS[9:18]] == [
        "3",
        "1",
        "1",
        "1",
        "0",
        "strict",
        "0",
        "10000",
        "prompt",
    ]
    assert (pairs["exact_low"], pairs["n_clusters"], pairs["n_degenerate"]) == ("", "3", "0")
    assert (pairs["ci_low"], pairs["no_interval"]) == ("", "too few rows to tell (3; 10 are needed)")


def test_intervals_name_their_method_and_what_they_speak_of(mixed):
    evaluation = evaluate([row | {"prompt": f"p{i // 2}"} for i, row in enumerate([mixed[3]] * 40)])
    line = next(line for line in read(intervals_csv(evaluation)) if line["metric"] == "ACC")
    interval = evaluation.summary[1].intervals["ACC"]
    assert (float(line["ci_low"]), float(line["ci_high"])) == (interval.low, interval.high)
    assert float(line["exact_low"]) == pytest.approx(0.025 ** (1 / 40))
    assert (line["method"], line["unit"], line["n_clusters"]) == ("Wilson t", "prompts", "20")
    assert line["population"] == "other prompts, the same systems"
    (record,) = read(summary_csv(evaluation.summary))[1:]
    assert (float(record["ACC_ci_low"]), float(record["ACC_ci_high"])) == (interval.low, interval.high)
    document = json.loads(metrics_json(evaluation))
    assert document["summary"][1]["ACC_ci_low"] == interval.low


def test_groups_are_told_and_reasons_are_given(evaluation):
    line = next(line for line in read(intervals_csv(evaluation)) if line["group_key"] == "confidence")
    assert (line["group_value"], line["ref_category"]) == (">3", "no_ref")
    few = next(line for line in read(intervals_csv(evaluation)) if line["metric"] == "SRCC")
    assert (few["ci_low"], few["no_interval"]) == ("", "too few rows to tell (3; 5 are needed)")


def test_the_tables_have_the_bounds_after_their_other_columns(evaluation):
    summary, detail = read(summary_csv(evaluation.summary)), read(detail_csv(evaluation.detail))
    assert summary[3]["SRCC_ci_low"] == ""
    assert {"ACC_ci_low", "ACC_ci_high", "SRCC_ci_low", "SRCC_ci_high", "ACC_exact_low", "ACC_exact_high"} < set(
        detail[0]
    )


def test_an_accuracy_without_half_credits_has_the_exact_interval_beside_it(mixed):
    (record,) = read(summary_csv(evaluate([mixed[3]] * 5).summary)[:])[1:]
    assert float(record["ACC_exact_low"]) == pytest.approx(0.4782, abs=1e-4)
    assert float(record["ACC_exact_high"]) == 1.0


def test_the_intervals_file_has_both_exact_bounds():
    rows = [arena("A", float(at < 7), 0.5, prompt=f"prompt {at}") for at in range(10)]
    (line,) = [line for line in read(intervals_csv(evaluate(rows))) if not line["group_key"]]
    expected = scipy.stats.binomtest(7, 10).proportion_ci(method="exact")
    assert (float(line["exact_low"]), float(line["exact_high"])) == pytest.approx((expected.low, expected.high))


def test_the_json_has_bounds_and_how_they_were_made(evaluation):
    document = json.loads(metrics_json(evaluation))
    made = {name: document["config"]["metrics"][name] for name in ("resamples", "confidence", "cluster", "seed")}
    assert made == {"resamples": 10_000, "confidence": 0.95, "cluster": "prompt", "seed": 0}


def test_without_intervals_the_values_are_there(mixed):
    off = evaluate(mixed, MetricSettings(resamples=0))
    lines = read(intervals_csv(off))
    assert lines
    assert all(line["value"] and not line["ci_low"] and not line["exact_low"] for line in lines)
    assert all(line["resamples"] == "0" for line in lines)


def strict(text):
    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_metrics_that_have_no_value_are_null_and_those_of_other_tasks_absent(evaluation):
    constant, fine, not_applicable, pairs = strict(metrics_json(evaluation))["summary"]
    assert constant["SRCC"] is None
    assert "ACC" not in fine
    assert not_applicable["ACC"] is None
    assert "SRCC" not in pairs
    assert (pairs["n"], pairs["n_failed"], pairs["ACC"]) == (3, 1, 0.5)


def test_groups_and_notes_are_in_it(evaluation):
    document = strict(metrics_json(evaluation))
    assert list(document) == ["config", "summary", "detail", "notes"]
    assert document["notes"] == evaluation.notes
    by_key = {record["group_key"]: record for record in document["detail"]}
    assert by_key["confidence"]["ref_category"] == "all"
    assert "ref_category" not in by_key["modality"]


def test_the_configuration_given_is_written_as_it_is(evaluation):
    assert strict(metrics_json(evaluation, {"run": "ä"}))["config"] == {"run": "ä"}
    assert strict(metrics_json(evaluation))["config"]["metrics"]["protocol"] == "strict"


def test_a_configuration_that_is_no_json_is_refused(evaluation):
    with pytest.raises(ValueError, match="not JSON compliant"):
        metrics_json(evaluation, {"x": math.nan})


def test_six_lines_each_under_its_comment(evaluation):
    lines = latex_lines(evaluation, "my_run").splitlines()
    assert len(lines) == 12
    assert all(line.startswith("% ") for line in lines[::2])
    assert all(line.startswith("my_run & ") and line.endswith(r" \\") for line in lines[1::2])


def test_what_is_not_known_is_a_dash(nothing):
    for comment, line in zip(*[iter(latex_lines(nothing, "x").splitlines())] * 2, strict=True):
        assert set(line.removesuffix(r" \\").split(" & ")[1:]) == {"-"}, comment


def test_groups_that_are_switched_off_are_dashes(mixed):
    settings = MetricSettings(by_condition=False, by_reference=False, by_lyrics=False, by_confidence=False)
    musicality = latex_lines(evaluate(mixed, settings), "x").splitlines()[7]
    assert musicality == r"x & 50.00 & - & - & - & - & - \\"


def test_a_mean_is_taken_over_what_is_known(evaluation):
    # PAM musicality is undefined and CMI-Pref alignment not applicable in these rows.
    assert latex_lines(evaluation, "x").splitlines()[5] == r"x & 1.0000 & - & - & 50.00 \\"


def test_all_files_are_written_under_their_names(evaluation, tmp_path):
    paths = write_reports(evaluation, tmp_path / "run", label="my_run", config={"model": "signal"})
    names = ["metrics_summary.csv", "metrics_detail.csv", "metrics_intervals.csv", "metrics.json", "latex.txt"]
    assert [path.name for path in paths] == names
    assert sorted(paths) == sorted((tmp_path / "run").iterdir())
    assert json.loads(paths.json.read_text())["config"] == {"model": "signal"}
    assert paths.latex.read_text().count("my_run & ") == 6


def test_writing_again_gives_the_same_bytes(evaluation, tmp_path):
    before, after = ([path.read_bytes() for path in write_reports(evaluation, tmp_path, label="x")] for _ in range(2))
    assert before == after
