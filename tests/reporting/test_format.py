import csv
import doctest
import io

import pytest
from scored_rows import HOSTILE

from cmi_bench.evaluation.intervals import Interval
from cmi_bench.reporting import format as number_format
from cmi_bench.reporting.format import bare, csv_text, escape, interval_text, p_text, signed, table


def test_the_examples_in_the_docstrings():
    for module in (number_format,):
        assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5, ".500"), (-0.5, "-.500"), (10.04, "10.040"), (-1.0, "-1.000"), (-1e-9, ".000"), (0.9999, "1.000")],
)
def test_no_zero_before_the_point(value, text):
    assert bare(value) == text


def test_what_is_not_there_is_nothing():
    assert interval_text(None) == interval_text(Interval(None, None, "one row only")) == p_text(None) == ""


def test_differences_have_signs_but_nothing_has_none():
    assert [signed(value) for value in (0.02, -0.02, 0.0001, -0.0001)] == ["+.020", "-.020", ".000", ".000"]


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (0.0, "<.001"),
        (0.0009999, "<.001"),
        (0.001, ".001"),
        (0.0094, ".009"),
        (0.01, ".010"),
        (0.0499, ".050"),
        (0.5, ".500"),
        (1.0, "1.000"),
    ],
)
def test_a_p_value_has_three_digits_or_is_below_them(p, text):
    assert p_text(p) == text


def read(text):
    return next(csv.reader(io.StringIO(text.partition("\n")[2], newline="")))


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", " =", "\n=", "\N{FULLWIDTH EQUALS SIGN}"])
def test_text_that_a_spreadsheet_would_compute_is_marked_as_text(start):
    formula = f"{start}HYPERLINK(A1)"
    assert read(csv_text(["a"], [{"a": formula}])) == ["'" + formula.replace("\r", "\n")]
    assert csv_text([formula], []).lstrip('"').startswith("'")


@pytest.mark.parametrize(
    "value", [-0.5, -3, True, 1e-30, "-0.024", "+5", "=3", "-.5e-3", "<3", "a=b", "me@here", "", "-"]
)
def test_numbers_and_other_text_stay_as_they_are(value):
    expected = "'-" if value == "-" else str(value)
    assert read(csv_text(["a", "b"], [{"a": value}])) == [expected, ""]


def test_whatever_text_is_one_cell_that_can_be_written():
    assert "'=1+cmd()" in read(csv_text(["a"], [{"a": HOSTILE}]))[0]
    csv_text([HOSTILE], [{HOSTILE: HOSTILE}]).encode()
    lines = table(["one", "two"], [[escape(HOSTILE), "x"]]).encode().decode().splitlines()
    assert len(lines) == 3
    assert len({line.replace("\\|", "").count("|") for line in lines}) == 1
