"""The page's section on an ensemble's spread."""

import pytest
from member_rows import member_rows

from cmi_bench.config import MetricSettings
from cmi_bench.evaluation.evaluate import evaluate
from cmi_bench.reporting.html.format import ReportSource
from cmi_bench.reporting.html.page import page_html
from cmi_bench.reporting.html.uncertainty import uncertainty_section


@pytest.fixture(scope="module")
def source():
    rows = member_rows(18)
    return ReportSource(evaluate(rows, MetricSettings()), rows, "an ensemble")


def test_the_numbers_and_two_plots_for_each_task(source, tmp_path):
    section = uncertainty_section(source)
    assert [figure.plot.name for figure in section.figures] == [
        *("spread-pam-musicality", "kept-pam-musicality"),
        *("spread-cmi-pref-musicality", "kept-cmi-pref-musicality"),
    ]
    names = [column.text for column in section.table.columns]
    pam, cmi = (dict(zip(names, row, strict=True)) for row in section.table.rows)
    assert (pam["statistic"].text, pam["margin"].text, pam["wrong"].text) == ("SRCC", "", "")
    record = source.evaluation.uncertainty[1]
    assert (cmi["members"].text, cmi["wrong"].text) == ("5", str(record.n_wrong))
    assert cmi["gain"].text == f"{record.gain.value:.3f}".replace("-", "\N{MINUS SIGN}")
    assert cmi["spread"].below.startswith("[")
    assert section.figures[3].caption.startswith("Accuracy of the surest half: ")
    page = page_html(source, [section], tmp_path)
    assert '<section id="uncertainty"' in page
    assert page.index("What foretells errors") < page.index("the surest rows")


def test_a_model_that_is_no_ensemble_has_no_section():
    rows = [{name: value for name, value in row.items() if "_members" not in name} for row in member_rows(5)]
    assert uncertainty_section(ReportSource(evaluate(rows), rows, "a model")) is None


def test_of_clips_alone_there_are_no_columns_of_pairs():
    rows = member_rows(8)[::2]
    section = uncertainty_section(ReportSource(evaluate(rows), rows, "an ensemble"))
    assert [column.text for column in section.table.columns] == [
        "dataset", "task", "members", "n", "statistic", "spread",
    ]  # fmt: skip
