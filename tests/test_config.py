import pytest

from cmi_bench.config import MetricSettings
from cmi_bench.errors import UserError


def test_an_unknown_protocol_is_refused_with_the_near_one():
    with pytest.raises(UserError, match="Did you mean strict"):
        MetricSettings(protocol="strikt")


@pytest.mark.parametrize("bins", [(), (10,), (10, 10), (30, 10), (10, float("inf")), (float("nan"), 1)])
def test_bins_that_do_not_rise_are_refused(bins):
    with pytest.raises(UserError, match="duration_bins"):
        MetricSettings(duration_bins=bins)


def test_bins_may_come_as_a_list():
    assert MetricSettings(duration_bins=[1, 2]) == MetricSettings(duration_bins=(1.0, 2.0))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"cluster": "promt"}, "Did you mean prompt"),
        ({"resamples": -1}, "resamples=-1 is negative"),
        ({"confidence": 95}, "confidence=95 is not between 0 and 1"),
        ({"confidence": 1.0}, "not between 0 and 1"),
    ],
)
def test_intervals_that_cannot_be_made_are_refused(wrong, says):
    with pytest.raises(UserError, match=says):
        MetricSettings(**wrong)
