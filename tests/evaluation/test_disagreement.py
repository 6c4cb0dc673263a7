import pytest
from scored_rows import arena, clip

from cmi_bench.config import MetricSettings
from cmi_bench.evaluation.comparison import compare_runs
from cmi_bench.evaluation.pairing import Run


def disagreements(**rows_of):
    runs = [Run(label, rows, label) for label, rows in rows_of.items()]
    return compare_runs(runs, MetricSettings(resamples=50), alpha=0.05).disagreements


def pairs(*margins):
    return [arena("A", margin, 0.0, **{"audio-path": f"{i}.mp3"}) for i, margin in enumerate(margins)]


def clips(*scores):
    return [clip(1 + i, score, **{"audio-path": f"{i}.wav"}) for i, score in enumerate(scores)]


def test_opposite_answers_come_first_and_the_surer_they_are_the_earlier():
    found = disagreements(a=pairs(5, 1, 9, 0.1), b=pairs(-500, -100, 900, 10))
    assert [(one.row, one.answers) for one in found] == [(1, 2.0), (2, 2.0)]
    assert found[0].predictions == {"a": 5.0, "b": -500.0}
    assert (found[0].label, found[0].raw["audio-path"]) == (1.0, "0.mp3")
    # Standpoints are ranks: 3/4 for A against 3/4 for B, whatever the scales.
    assert found[0].spread == pytest.approx(1.5)


def test_clips_by_how_far_apart_their_ranks_are():
    found = disagreements(a=clips(1, 2, 3, 4), b=clips(40, 20, 30, 10))
    assert [one.row for one in found][:2] == [1, 4]
    assert found[0].spread == pytest.approx(1.5)


def test_rows_that_failed_somewhere_are_no_disagreement():
    failed = pairs(5, 1)
    failed[0] |= {"predicted_musicality": None}
    assert disagreements(a=failed, b=pairs(-5, 1)) == ()


def test_sides_stated_without_scores_do_as_well():
    def stated(side):
        row = {key: value for key, value in arena("A", 1, 0).items() if not key.startswith("predicted_musicality")}
        return [row | {"predicted_preference": side}]

    (found,) = disagreements(a=stated("model_a"), b=stated("model_b"))
    assert found.predictions == {"a": 1.0, "b": -1.0}
