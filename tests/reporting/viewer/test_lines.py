import numpy as np
import pytest
from full_size import full_size_rows
from scored_rows import VALID, VALID_PAIR, arena, clips, cmi

from cmi_bench.config import MetricSettings, ProtocolName
from cmi_bench.evaluation.evaluate import evaluate
from cmi_bench.evaluation.marks import Mark
from cmi_bench.evaluation.pairing import Run
from cmi_bench.reporting.viewer.lines import choose_rows, view_lines


def runs(**rows_of):
    return [Run(label, rows, label) for label, rows in rows_of.items()]


def pairs(*scores, label="A", **more):
    made = (arena(label, a, b, **VALID_PAIR, **more) for a, b in scores)
    return [row | {"audio-path": f"{number}.mp3"} for number, row in enumerate(made)]


def test_accuracy_counts_what_the_page_marks():
    rows = full_size_rows()[::8]
    evaluation = evaluate(rows, MetricSettings(resamples=0))
    worth = {Mark.RIGHT: 1.0, Mark.HALF: 0.5}
    marked = {
        (dataset.dataset.name, task.task.name): task.by_run[0].marks
        for dataset in view_lines(runs(a=rows), MetricSettings())
        for task in dataset.tasks
    }
    for record in evaluation.summary:
        if "ACC" in record.metrics:
            found = marked[record.dataset, record.task]
            assert sum(worth.get(one, 0.0) for one in found) / record.n == pytest.approx(record.metrics["ACC"])


def test_a_row_is_seen_by_each_of_its_tasks_and_runs():
    row = cmi("A", "both", (2.0, 1.0, 0.5, 0.25), **VALID_PAIR)
    other = cmi("A", "both", (0.0, 4.0, None, None), **VALID_PAIR)
    ((_, _, (alignment, musicality)),) = (
        (one.dataset, one.rows, one.tasks) for one in view_lines(runs(a=[row], b=[other]), MetricSettings())
    )
    assert (musicality.label.tolist(), alignment.label.tolist()) == ([1.0], [0.0])
    assert [one.marks for one in musicality.by_run] == [["right"], ["wrong"]]
    assert [one.marks for one in alignment.by_run] == [["half right"], ["not judged"]]
    assert (musicality.by_run[1].score_a[0], musicality.by_run[1].score_b[0]) == (0.0, 4.0)
    assert musicality.answers_apart.tolist() == [2.0]
    assert np.isnan(alignment.answers_apart).all()  # one of them does not judge it
    assert {group.key for group in musicality.groups} == {"modality", "ref_subset", "modality_type"}


def test_a_run_that_lacks_rows_says_nothing_of_them():
    first, second = pairs((2, 1), (1, 2), (3, 1)), pairs((0, 1), (1, 2), (3, 1))[:1]
    ((lines,),) = ([one.tasks[0] for one in view_lines(runs(a=first, b=second), MetricSettings())],)
    assert lines.by_run[1].marks == ["wrong", None, None]
    assert np.isnan(lines.by_run[1].score_a[1:]).all()
    assert lines.answers_apart[0] == 2.0
    assert np.isnan(lines.answers_apart[1:]).all()


def test_a_dataset_that_only_one_run_has_is_shown_too():
    datasets = view_lines(runs(a=pairs((2, 1)), b=clips([1, 2], [0.1, 0.2], **VALID)), MetricSettings())
    assert [one.dataset.name for one in datasets] == ["MusicEval", "MusicArena"]
    assert [one.tasks[0].by_run[0].marks for one in datasets] == [[None, None], ["right"]]
    assert [one.tasks[0].label.tolist() for one in datasets] == [[1.0, 2.0], [1.0]]


def test_the_protocol_decides():
    tie = pairs((1, 1), label="B")
    found = [
        view_lines(runs(a=tie), MetricSettings(protocol=protocol))[0].tasks[0].by_run[0].marks[0]
        for protocol in ProtocolName
    ]
    assert found == ["half right", "right"]


def test_where_there_is_room_all_rows_are_chosen():
    datasets = view_lines(runs(a=pairs((2, 1), (1, 2))), MetricSettings())
    assert [one.tolist() for one in choose_rows(datasets, 2, seed=0)] == [[0, 1]]


def test_of_too_many_rows_mistakes_come_first_and_each_dataset_keeps_its_share():
    good, bad = (2, 1), (1, 2)
    rows = [*pairs(*[good] * 30, *[bad] * 10), *clips(range(1, 6), [1, 2, 3, 5, 4], **VALID)]
    failed = pairs(*[good] * 45)[44] | {"predicted_musicality": None, "inference_valid_a": False}
    datasets = view_lines(runs(a=[*rows, failed]), MetricSettings())
    music_eval, arena_rows = choose_rows(datasets, 24, seed=0)
    assert (music_eval.size, arena_rows.size) == (3, 21)
    assert {3, 4} < set(music_eval.tolist())  # the two that the run puts the wrong way round
    assert set(range(30, 41)) <= set(arena_rows.tolist())
    assert choose_rows(datasets, 24, seed=0)[1].tolist() == arena_rows.tolist()
    assert choose_rows(datasets, 24, seed=1)[1].tolist() != arena_rows.tolist()


def test_rows_on_which_runs_differ_come_before_those_on_which_all_are_right():
    first, second = pairs(*[(2, 1)] * 20), pairs(*[(2, 1)] * 20)
    second[7] |= {"predicted_musicality": 0.0}
    (chosen,) = choose_rows(view_lines(runs(a=first, b=second), MetricSettings()), 1, seed=3)
    assert chosen.tolist() == [7]


@pytest.mark.parametrize(("most", "sizes"), [(1, [0, 1]), (2, [1, 1]), (10, [1, 9]), (40, [2, 38])])
def test_a_small_dataset_is_not_lost_among_large_ones(most, sizes):
    datasets = view_lines(runs(a=[*pairs(*[(2, 1)] * 95), *clips(range(1, 6), range(5), **VALID)]), MetricSettings())
    assert [one.size for one in choose_rows(datasets, most, seed=0)] == sizes
