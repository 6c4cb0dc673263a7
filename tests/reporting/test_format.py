import doctest

import pytest

from cmi_bench.evaluation.intervals import Interval
from cmi_bench.reporting import format as number_format
from cmi_bench.reporting.format import bare, interval_text, p_text, signed


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
