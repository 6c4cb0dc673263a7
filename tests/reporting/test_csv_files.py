import csv
import io

from cmi_bench.reporting.metrics import detail_csv, summary_csv

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
