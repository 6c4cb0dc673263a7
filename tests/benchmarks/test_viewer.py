from benchmarks.viewer import SOURCES, rows
from cmi_bench.config import MetricSettings
from cmi_bench.evaluation.pairing import Run
from cmi_bench.reporting.viewer.lines import view_lines


def test_runs_share_their_rows_and_have_every_dataset_in_its_share():
    runs = [Run(label, list(rows(276, number)), label) for number, label in enumerate(("a", "b"))]
    datasets = view_lines(runs, MetricSettings())
    assert {one.dataset for one in datasets} == set(SOURCES)
    assert {one.dataset.slug: len(one.rows.rows) for one in datasets} == {
        "pam": 50, "musiceval": 41, "music_arena": 134, "cmi_pref": 50,
    }  # fmt: skip
    for one in datasets:
        assert (one.rows.places >= 0).all()
        assert all({"right", "wrong", "rated"} >= set(run.marks) for task in one.tasks for run in task.by_run)
