import json

import pytest
from rich.console import Console

from cmi_bench.reporting.listing import find_runs, runs_table


def write_run(folder, started="2026-01-02T03:04:05+00:00", status="finished", metrics=(), **more):
    folder.mkdir(parents=True)
    metadata = {
        "started": started,
        "status": status,
        "model": {"name": "m"},
        "config": {"task": "benchmark", "data": {"name": "mini"}, "subset": {"name": "all"}},
        "counts": {"failed": 3},
        "data": {"jsonl": "rows.jsonl"},
    }
    (folder / "metadata.json").write_text(json.dumps(metadata | more))
    if metrics:
        (folder / "metrics.json").write_text(json.dumps({"summary": list(metrics)}))


SUMMARY = (
    {"dataset": "PAM", "task": "musicality", "n": 3, "SRCC": 0.5, "LCC": 0.4},
    {"dataset": "PAM", "task": "alignment", "n": 3, "SRCC": None},
    {"dataset": "CMI-Pref", "task": "musicality", "n": 3, "ACC": 0.25},
)


@pytest.fixture
def folders(tmp_path):
    write_run(tmp_path / "outputs/m/old", metrics=SUMMARY)
    write_run(tmp_path / "outputs/m/new", "2026-05-02T03:04:05+00:00", "failed")
    config = {"task": "other", "data": {"name": "benchmark"}, "subset": {"name": "pam"}}
    write_run(tmp_path / "sweeps/time/0", "2026-03-02T03:04:05+00:00", "running", config=config, counts={})
    return [tmp_path / "outputs", tmp_path / "sweeps", tmp_path / "absent"]


def test_runs_come_newest_first_from_all_folders(folders):
    assert [run.folder.name for run in find_runs(folders)] == ["new", "0", "old"]


def test_a_run_says_what_it_came_to(folders):
    new, running, old = find_runs(folders)
    assert old.metrics == {("PAM", "musicality"): ("SRCC", 0.5), ("CMI-Pref", "musicality"): ("ACC", 0.25)}
    assert (old.status, old.model, old.data, old.n_failed) == ("finished", "m", "mini", 3)
    assert (new.status, new.metrics) == ("failed", {})
    assert (running.task, running.data, running.n_failed) == ("other", "benchmark/pam", None)


def test_a_task_without_rows_has_no_data(tmp_path):
    write_run(tmp_path / "s", config={"task": "sanity", "data": {"name": "benchmark"}}, data={})
    assert find_runs([tmp_path])[0].data == ""


def test_damaged_files_are_warned_of_and_spoil_no_list(folders, caplog):
    write_run(folders[0] / "m/odd", model="a name only", counts=None, config=[])
    (folders[0] / "m/old/metrics.json").write_text("{")
    (folders[0] / "m/new/metadata.json").write_text("[1]")
    runs = {run.folder.name: run for run in find_runs(folders)}
    assert set(runs) == {"odd", "old", "0"}
    assert runs["odd"].model == ""
    assert runs["old"].metrics == {}
    assert [record.args[0].name for record in caplog.records] == ["metadata.json", "metrics.json"]


def test_the_table_shows_what_there_is(folders, tmp_path):
    console = Console(width=200, color_system=None)
    with console.capture() as captured:
        console.print(runs_table(find_runs(folders), base=tmp_path))
    lines = [line.split() for line in captured.get().splitlines() if "2026" in line]
    assert lines[0] == ["2026-05-02", "03:04", "failed", "m", "mini", "3", "outputs/m/new"]
    assert lines[1] == ["2026-03-02", "03:04", "running", "m", "(other)", "benchmark/pam", "sweeps/time/0"]
    assert lines[2] == ["2026-01-02", "03:04", "finished", "m", "mini", "0.5000", "0.2500", "3", "outputs/m/old"]
    assert "alignment" not in captured.get()
