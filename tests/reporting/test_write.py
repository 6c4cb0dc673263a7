import json

from cmi_bench.reporting.metrics import write_reports


def test_all_files_are_written_under_their_names(evaluation, tmp_path):
    paths = write_reports(evaluation, tmp_path / "run", label="my_run", config={"model": "signal"})
    names = ["metrics_summary.csv", "metrics_detail.csv", "metrics_intervals.csv", "metrics.json", "latex.txt"]
    assert [path.name for path in paths] == names
    assert sorted(paths) == sorted((tmp_path / "run").iterdir())
    assert json.loads(paths.json.read_text())["config"] == {"model": "signal"}
    assert paths.latex.read_text().count("my_run & ") == 6


def test_writing_again_gives_the_same_bytes(evaluation, tmp_path):
    before, after = ([path.read_bytes() for path in write_reports(evaluation, tmp_path, label="x")] for _ in range(2))
    assert before == after
