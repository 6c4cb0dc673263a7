"""The numbers of a run, named as they are recorded."""

from recorded_runs import METADATA, ROWS, outcome
from scored_rows import VALID_PAIR, cmi

from cmi_bench.config import MetricSettings
from cmi_bench.evaluation.evaluate import evaluate
from cmi_bench.tracking.metrics import (
    left_out_of_means,
    recorded_metrics,
    series_name,
    task_means,
    validation_curves,
)


def test_there_is_one_section_for_each_dataset_and_each_name_has_one_slash():
    recorded = outcome().metrics
    sections = {one.name.partition("/")[0] for one in recorded}
    assert sections == {"MusicEval", "MusicArena", "mean", "run"}
    assert all(one.name.count("/") == 1 for one in recorded)
    assert {one.dataset for one in recorded if one.name.startswith("MusicEval/")} == {"MusicEval"}


def test_what_the_run_cost():
    run = {one.name: one.value for one in outcome().metrics if one.name.startswith("run/")}
    assert run == {
        "run/clips scored": 10,
        "run/clips failed": 2,
        "run/wall seconds": 4.0,
        "run/clips per second": 2.0,  # four of the twelve were looked up
        "run/peak process memory GB": 0.5,
    }
    looked_up = METADATA | {"counts": METADATA["counts"] | {"from_store": 12}}
    assert "run/clips per second" not in {one.name for one in recorded_metrics([], looked_up)}


def test_the_mean_is_over_the_tasks_that_have_a_value_and_the_others_are_named():
    # The model judges musicality only: alignment of CMI-Pref is in no mean.
    pairs = [cmi("model_a", "model_a", (0.9, score, None, None), **VALID_PAIR) for score in (0.1, 0.2, 1.0)]
    evaluation = evaluate([*ROWS, *pairs], MetricSettings(resamples=0))
    values = {(line.dataset, line.task): line.metrics.get("ACC") for line in evaluation.summary}
    arena, musicality = values["MusicArena", "preference"], values["CMI-Pref", "musicality"]
    means = {one.name: one.value for one in task_means(evaluation.summary)}
    assert (arena, musicality) == (0.5, 2 / 3)
    assert means["mean/ACC"] == (arena + musicality) / 2
    assert values["CMI-Pref", "alignment"] is None
    assert "CMI-Pref alignment" in left_out_of_means(evaluation.summary)
    assert "CMI-Pref musicality" not in left_out_of_means(evaluation.summary)


def test_both_ends_of_an_interval_stand_in_a_section_of_their_own():
    evaluation = evaluate(ROWS * 5, MetricSettings(resamples=20))
    recorded = {one.name: one.value for one in recorded_metrics(evaluation.summary, METADATA)}
    value = recorded["MusicArena/preference ACC"]
    ends = [recorded[f"intervals/MusicArena preference ACC {end}"] for end in ("low", "high")]
    assert ends[0] < value < ends[1]
    assert not any(one.is_of_model for one in recorded_metrics(evaluation.summary, METADATA) if "intervals" in one.name)


def test_a_metric_along_a_sweep_stands_beside_those_of_its_dataset():
    assert series_name("PAM/musicality SRCC", by_step=False) == "PAM by job/musicality SRCC"


def test_validation_has_a_section_for_its_values_and_one_for_the_ends_of_their_intervals():
    # What the model does not judge is no point of a curve.
    pairs = [cmi("model_a", "model_a", (0.9, score, None, None), **VALID_PAIR) for score in (0.1, 0.2, 1.0)]
    points = validation_curves(evaluate([*ROWS * 5, *pairs], MetricSettings(resamples=20)).summary)
    assert all(name.count("/") == 1 for name in points)
    assert {name.partition("/")[0] for name in points} == {"validation", "validation intervals"}
    low, high = (points[f"validation intervals/MusicArena preference ACC {end}"] for end in ("low", "high"))
    assert low < points["validation/MusicArena preference ACC"] < high
    assert points["validation/mean ACC"] == (points["validation/MusicArena preference ACC"] + 2 / 3) / 2
    assert not any("CMI-Pref alignment" in name for name in points)
