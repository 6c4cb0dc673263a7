import pytest
from command_line import composed

from cmi_bench.config import MetricSettings
from cmi_bench.errors import UserError
from cmi_bench.task_config import checked


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


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("max_dur=nan", "max_dur=nan is not a number.\n  -> Give max_dur a value above 0, 1000000000 at most."),
        ("max_dur=inf", "max_dur=inf is too large"),
        ("max_dur=0", "max_dur=0.0 is not positive"),
        ("max_dur=-1", "max_dur=-1.0 is not positive"),
        ("batch_size=0", "batch_size=0 is not positive"),
        ("batch_seconds=nan", "batch_seconds=nan is not a number"),
        ("limit=-1", "limit=-1 is not positive"),
        ("limit=0", "limit=0 is not positive"),
        ("workers=-1", "workers=-1 is negative.\n  -> Use workers=0"),
        ("workers=1000000", "workers=1000000 is too large"),
        ("seed=-1", "seed=-1 is negative"),
        ("seed=4294967296", "seed=4294967296 is too large.\n  -> Give seed a value of 0 or more, 4294967295 at most."),
        ("metrics.seed=-3", "metrics.seed=-3 is negative"),
        ("alpha=0", "alpha=0.0 is not between 0 and 1.\n  -> Use alpha=0.05."),
        ("alpha=1", "alpha=1.0 is not between 0 and 1"),
        ("alpha=nan", "alpha=nan is not a number"),
        ("cache.max_gb=-1", "cache.max_gb=-1.0 is negative"),
        ("model_timeout=0", "model_timeout=0.0 is not positive"),
    ],
)
def test_numbers_outside_of_their_range_are_refused(word, says):
    with pytest.raises(UserError) as raised:
        checked(composed(word))
    assert says in str(raised.value)


def test_a_task_checks_its_own_numbers_too():
    with pytest.raises(UserError, match=r"prune_gb=-1\.0 is negative"):
        checked(composed("task=cache", "prune_gb=-1"))
    with pytest.raises(UserError, match="jobs=0 is not positive"):
        checked(composed("task=prepare", "jobs=0"))
    with pytest.raises(UserError, match="profile=true is for task=benchmark, task=embed and task=sanity"):
        checked(composed("task=train", "profile=true"))


@pytest.mark.parametrize(
    "word", ["max_dur=0.5", "batch_seconds=inf", "seed=4294967295", "workers=0", "limit=1", "model_timeout=null"]
)
def test_numbers_at_the_ends_of_their_range_are_taken(word):
    checked(composed(word))
