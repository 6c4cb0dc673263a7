"""What a tracker is told of a run that is done."""

from dataclasses import replace

from recorded_runs import METADATA, outcome
from scored_rows import clips

from cmi_bench.tracking.ledger import LOOKS


def test_tags_at_the_end_are_the_tasks_that_are_in_no_mean_and_the_looks_at_test_sets():
    assert outcome().tags == {}
    constant = outcome(clips((1.0, 2.0, 3.0), (0.5, 0.5, 0.5)))
    assert list(constant.tags) == ["left_out_of_means"]
    assert replace(outcome(), metadata=METADATA | {LOOKS: 8}).tags == {"test_set_looks": "8"}
