"""Ratios, differences and tables of two sides, from turns that are written down here."""

import pytest

from benchmarks.side_by_side import (
    Case,
    ColdStart,
    Turn,
    cold_table,
    compare_scores,
    describe_case,
    ratios,
    turn_line,
    turn_table,
)
from cmi_bench.utils.console import plain_text

SHORT = Case(1, 30, references=False)
LONG = Case(8, 120, references=True)


def turn(side, case, number, seconds, *, scores, processor=None, busy=0, device_gb=None):
    return Turn(side, case, busy, number, seconds, processor or 2 * seconds, 4.0, device_gb, scores)


def some_turns():
    return [
        turn("public", SHORT, 0, 9.0, scores=[[0.0, 1.0]]),
        turn("ours", SHORT, 0, 4.5, scores=[[0.0, 1.0]]),
        turn("ours", SHORT, 1, 3.0, scores=[[0.0, 1.0]]),
        turn("public", SHORT, 1, 9.0, scores=[[0.0, 1.0]]),
        turn("public", LONG, 0, 80.0, scores=[[2.0, 3.0], [4.0, 5.0]]),
        turn("ours", LONG, 0, 20.0, scores=[[2.0, 3.1], [4.0, 5.0]], processor=160.0),
        turn("public", SHORT, 0, 10.0, busy=2, scores=[[0.0, 1.0]]),
        turn("ours", SHORT, 0, 10.0, busy=2, scores=[[0.2, 1.0]]),
    ]


def test_a_case_is_as_many_clips_as_fill_a_batch():
    assert [(case.clips, case.chunks) for case in (SHORT, Case(8, 30, references=True), LONG)] == [
        (1, 1),
        (8, 16),
        (2, 16),
    ]
    assert Case(1, 120, references=False).chunks == 4
    assert describe_case(LONG) == "2 clips of 120 s with references, batch 8"


def test_each_round_gives_one_ratio():
    short, long, busy = ratios(some_turns())

    assert (short.case, short.busy, short.rounds) == (SHORT, 0, 2)
    assert (short.clock.median, short.clock.low, short.clock.high) == (2.5, 2.0, 3.0)
    assert str(short.clock) == "2.50 (2.00-3.00)"
    assert (str(long.clock), str(long.processor)) == ("4.00", "1.00")
    assert (busy.busy, busy.clock.median) == (2, 1.0)


def test_scores_are_compared_between_sides_and_between_rounds():
    found = compare_scores(some_turns())

    assert found["clips compared"] == 3
    assert found["largest difference of scores"] == pytest.approx(0.1)
    # The public code's musicality: 1, 3, 5.
    assert found["largest difference of scores, in standard deviations"] == pytest.approx(0.1 / (8 / 3) ** 0.5)
    assert found["largest difference between rounds, public code"] == 0
    assert found["largest difference between rounds, ours"] == pytest.approx(0.2)


def test_one_clip_has_no_standard_deviation():
    found = compare_scores(some_turns()[:2])
    assert str(found["largest difference of scores, in standard deviations"]) == "nan"


def test_what_only_one_side_has_done_is_left_out():
    public, ours, ours_again, *_ = some_turns()
    assert [row.rounds for row in ratios([public, ours, ours_again])] == [1]
    assert ratios([public]) == []
    only_public = turn("public", LONG, 0, 80.0, scores=[[2.0, 3.0], [4.0, 5.0]])
    assert compare_scores([public, ours, only_public])["clips compared"] == 1


def test_tables_name_both_sides():
    turns = some_turns()
    shown = plain_text(turn_table(turns, ratios(turns)), width=130)
    assert "9.0 / 3.8" in shown
    assert "2.50 (2.00-3.00)" in shown
    assert "device" not in shown
    assert "80.0 / 20.0" in shown

    on_device = [turn(side, SHORT, 0, 1.0, scores=[[0, 0]], device_gb=7.0) for side in ("public", "ours")]
    assert "7.0 / 7.0" in plain_text(turn_table(on_device, ratios(on_device)), width=130)
    assert turn_line(turns[-1]) == (
        "  round 1, 1 clip of 30 s, batch 1, 2 busy beside: ours 10.00 s, 20.00 processor seconds"
    )


def test_cold_starts_give_a_ratio():
    starts = [
        ColdStart(side, seconds, 2 * seconds, 3.0, 4.0, 5.0, 6.0)
        for side, seconds in (("ours", 10.0), ("public", 25.0))
    ]
    shown = plain_text(cold_table(starts), width=130)
    assert "25.0" in shown
    assert "2.50" in shown
