import pytest

from cmi_bench.evaluation.intervals import Interval
from cmi_bench.evaluation.proportions import Bounds
from cmi_bench.reporting.html.format import count, interval_text, number, score

EXACT = Bounds(0.25, 1.0)


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        (None, ""),
        (Interval(0.1, 0.9), "[0.100, 0.900]"),
        (Interval(-0.5, 0.9, exact=EXACT), "[\N{MINUS SIGN}0.500, 0.900]"),
        (Interval(1.0, 1.0, exact=EXACT), "no interval: the same in every resample"),
        (Interval(None, None, "one row only", exact=EXACT), "one row only"),
    ],
)
def test_the_interval_that_tells_something_is_shown(interval, text):
    assert interval_text(interval) == text


def test_numbers():
    assert number(-0.12345) == "\N{MINUS SIGN}0.123"
    assert (score(1234.56), score(0.00012345)) == ("1235", "0.0001234")
    assert (count(1, "pair"), count(1340, "pair")) == ("1 pair", "1,340 pairs")
