"""Whether rows have an order to learn."""

from cmi_bench.training.batches import LearntRow, lack_lists
from cmi_bench.training.examples import Label, Outcome
from cmi_bench.types import Aspect


def rated(group, value, aspect=Aspect.MUSICALITY):
    return LearntRow(None, (Label(aspect, value),), group)


def test_clips_of_a_prompt_need_different_ratings_under_one_aspect():
    assert lack_lists([rated(0, 3.0), rated(0, 3.0), rated(1, 4.0)])
    assert lack_lists([rated(0, 3.0), rated(0, 4.0, Aspect.ALIGNMENT)])
    assert not lack_lists([rated(0, 3.0), rated(1, 4.0), rated(0, 3.5)])


def test_preferences_need_no_lists():
    assert not lack_lists([rated(0, Outcome.A)])
