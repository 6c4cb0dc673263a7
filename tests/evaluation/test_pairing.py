import numpy as np
import pytest
from scored_rows import arena, clip

from cmi_bench.config import MetricSettings
from cmi_bench.errors import UserError
from cmi_bench.evaluation.comparison import compare_runs, paired_samples
from cmi_bench.evaluation.pairing import Run, align_rows, compare_views, pair_rows, require_common


def run(label, rows):
    return Run(label, rows, f"{label}/results.jsonl")


def songs(*numbers, score=0.0):
    return [clip(1 + number, score + number, **{"audio-path": f"{number}.wav"}) for number in numbers]


def numbers(paired, label):
    (of_run,) = paired.rows_of.values()
    return [row.number for row in of_run[label]]


def test_rows_are_known_by_what_they_say_not_by_where_they_stand():
    paired = pair_rows([run("a", songs(0, 1, 2)), run("b", songs(2, 0, 1, score=7.0))], "test")
    assert numbers(paired, "a") == [1, 2, 3]
    assert numbers(paired, "b") == [2, 3, 1]
    assert require_common(paired, intersect=False) == []


def test_what_a_run_says_of_a_row_is_no_part_of_it():
    row = clip(2, 0.5)
    more = row | {"predicted_musicality": None, "inference_error": "x", "benchmark_dataset": "MusicEval"}
    assert pair_rows([run("a", [row]), run("b", [more])], "test").n_common == 1
    assert pair_rows([run("a", [row]), run("b", [row | {"musicality": 3}])], "test").n_common == 0


def test_identical_rows_are_told_apart_by_their_order():
    twice = [arena("A", 1, 0), arena("A", 0, 1)]
    paired = pair_rows([run("a", twice), run("b", twice)], "test")
    assert numbers(paired, "a") == [1, 2]
    assert pair_rows([run("a", twice), run("b", twice[:1])], "test").n_common == 1


def test_different_rows_are_refused_with_the_counts():
    paired = pair_rows([run("a", songs(0, 1, 2)), run("b", songs(1, 2, 3, 4))], "test")
    with pytest.raises(UserError) as error:
        require_common(paired, intersect=False)
    assert "a: 3 rows, 1 of them not in every run" in str(error.value)
    assert "b: 4 rows, 2 of them not in every run" in str(error.value)
    assert "intersect=true compares them on the 2 rows in common" in str(error.value)


def test_or_intersected_when_told_to_with_the_counts():
    paired = pair_rows([run("a", songs(0, 1, 2)), run("b", songs(1, 2, 3, 4))], "test")
    notes = require_common(paired, intersect=True)
    assert notes[0] == "Compared on the 2 rows that all runs have."
    assert notes[1:] == paired.counts
    assert (numbers(paired, "a"), numbers(paired, "b")) == ([2, 3], [1, 2])


@pytest.mark.parametrize("intersect", [False, True])
def test_nothing_in_common_is_an_error_in_any_case(intersect):
    with pytest.raises(UserError, match="no row in common"):
        require_common(pair_rows([run("a", songs(0)), run("b", songs(1))], "test"), intersect=intersect)


def test_rows_of_other_splits_are_nobodys():
    training = clip(3, 1.0, split="train")
    paired = pair_rows([run("a", [*songs(0), training]), run("b", songs(0))], "test")
    assert paired.counts == []


def test_all_rows_are_aligned_whichever_run_has_them():
    pair = arena("A", 1, 0)
    aligned = align_rows([run("a", songs(0, 1, 2)), run("b", [*songs(3, 1, score=7.0), pair])], "test")
    assert [dataset.name for dataset in aligned] == ["MusicEval", "MusicArena"]
    clips, pairs = aligned.values()
    assert [row.raw["audio-path"] for row in clips.rows] == ["0.wav", "1.wav", "2.wav", "3.wav"]
    assert clips.owner.tolist() == [0, 0, 0, 1]
    assert clips.places.tolist() == [[0, -1], [1, 1], [2, -1], [-1, 0]]
    assert [row.raw["predicted_musicality"] for row in clips.rows_of["b"]] == [10.0, 8.0]
    assert (pairs.owner.tolist(), pairs.places.tolist(), list(pairs.rows_of["a"])) == ([1], [[-1, 0]], [])


def test_views_are_apart_only_on_rows_that_every_judging_run_answered():
    rows_of = {"a": pair_results(1.0, 2.0, 3.0), "b": pair_results(-1.0, 1.0, 3.0)}
    rows_of["b"][1] |= {"predicted_musicality": None, "inference_valid_a": False}
    runs = [run(label, rows) for label, rows in rows_of.items()]
    ((dataset, paired),) = pair_rows(runs, "test").rows_of.items()
    (samples_of,) = paired_samples(dataset, paired, MetricSettings(), {"a": "", "b": ""})
    views = compare_views(samples_of)
    assert views.answers[[0, 2]].tolist() == [2.0, 0.0]
    assert views.spread[[0, 2]].tolist() == [1.0, 0.0]
    assert np.isnan([views.answers[1], views.spread[1]]).all()
    assert np.isnan(compare_views({"a": samples_of["a"]}).spread).all()


def disagreements(**rows_of):
    runs = [Run(label, rows, label) for label, rows in rows_of.items()]
    return compare_runs(runs, MetricSettings(resamples=50), alpha=0.05).disagreements


def pair_results(*margins):
    return [arena("A", margin, 0.0, **{"audio-path": f"{i}.mp3"}) for i, margin in enumerate(margins)]


def clip_results(*scores):
    return [clip(1 + i, score, **{"audio-path": f"{i}.wav"}) for i, score in enumerate(scores)]


def test_opposite_answers_come_first_and_the_surer_they_are_the_earlier():
    found = disagreements(a=pair_results(5, 1, 9, 0.1), b=pair_results(-500, -100, 900, 10))
    assert [(one.row, one.answers) for one in found] == [(1, 2.0), (2, 2.0)]
    assert found[0].predictions == {"a": 5.0, "b": -500.0}
    assert (found[0].label, found[0].raw["audio-path"]) == (1.0, "0.mp3")
    # Standpoints are ranks: 3/4 for A against 3/4 for B, whatever the scales.
    assert found[0].spread == pytest.approx(1.5)


def test_opposite_answers_come_before_one_and_both_however_sure():
    # The second row is as far apart as can be between A for certain and both; the first only just A against B.
    found = disagreements(a=pair_results(0.1, 9, 5, 4), b=pair_results(-0.1, 0, 5, 4))
    assert [(one.row, one.answers) for one in found][:2] == [(1, 2.0), (2, 1.0)]
    assert found[0].spread < found[1].spread


def test_clips_by_how_far_apart_their_ranks_are():
    found = disagreements(a=clip_results(1, 2, 3, 4), b=clip_results(40, 20, 30, 10))
    assert [one.row for one in found][:2] == [1, 4]
    assert found[0].spread == pytest.approx(1.5)


def test_rows_that_failed_somewhere_are_no_disagreement():
    failed = pair_results(5, 1)
    failed[0] |= {"predicted_musicality": None}
    assert disagreements(a=failed, b=pair_results(-5, 1)) == ()


def test_sides_stated_without_scores_do_as_well():
    def stated(side):
        row = {key: value for key, value in arena("A", 1, 0).items() if not key.startswith("predicted_musicality")}
        return [row | {"predicted_preference": side}]

    (found,) = disagreements(a=stated("model_a"), b=stated("model_b"))
    assert found.predictions == {"a": 1.0, "b": -1.0}
