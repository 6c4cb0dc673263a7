"""What `runs=` names: folders, files, sweeps and patterns, and what is said of those without results."""

import json
from pathlib import Path

import pytest

from cmi_bench.config import TrackingConfig
from cmi_bench.errors import UserError
from cmi_bench.tasks.named_runs import FoundRuns, find_runs
from cmi_bench.tracking.job_record import JobRecord, write_record
from cmi_bench.tracking.sweep_plan import PlannedJob, SweepPlan, write_plan


def write_run(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "results.jsonl").write_text("{}\n")
    (folder / "metadata.json").write_text(json.dumps({"model": {"name": "signal"}}))


def write_sweep(folder: Path, **statuses: str) -> None:
    """A sweep of jobs by label; those that finished have results, and one that failed those of an earlier start."""
    jobs = tuple(PlannedJob(number, (f"x={label}",), label, None) for number, label in enumerate(statuses))
    write_plan(SweepPlan(folder.name, ("x",), jobs, None), folder)
    for job, status in zip(jobs, statuses.values(), strict=True):
        if status != "not run":
            write_run(folder / str(job.number))
            message = "no weights\n  -> hint" if status == "failed" else ""
            record = JobRecord(job.overrides, "print", status, job.label, message)
            write_record(record, folder / str(job.number))


def find(*named: str, at: Path) -> FoundRuns:
    return find_runs([f"{at}/{one}" for one in named], TrackingConfig("none"), at)


def names(found: FoundRuns, at: Path) -> list[str]:
    return [str(run.results.relative_to(at).parent) for run in found.runs]


def test_a_sweeps_folder_is_its_jobs_and_those_without_results_are_named(tmp_path):
    write_sweep(tmp_path / "sweep", step_9="finished", step_10="failed", step_11="not run", step_12="finished")
    found = find("sweep", at=tmp_path)
    assert [(run.job, run.metadata["model"]["name"]) for run in found.runs] == [
        ("step_9", "signal"),
        ("step_12", "signal"),
    ]
    assert found.left_out == [
        f"Missing of the sweep {tmp_path}/sweep: step_10 (failed: no weights), step_11 (not run)."
    ]


def test_a_sweep_of_which_nothing_finished_is_an_error_that_says_how_to_go_on(tmp_path):
    write_sweep(tmp_path / "sweep", step_9="failed", step_10="running")
    with pytest.raises(UserError) as error:
        find("sweep", at=tmp_path)
    assert "has results: step_9 (failed: no weights), step_10 (killed: Its process died" in error.value.what
    assert f"hydra.sweep.dir={tmp_path}/sweep" in error.value.hint


def test_patterns_match_runs_jobs_and_whole_sweeps_in_the_order_of_their_numbers(tmp_path):
    for name in ("run10", "run9"):
        write_run(tmp_path / "outputs" / name)
    (tmp_path / "outputs/broken").mkdir()
    write_sweep(tmp_path / "sweeps/a", step_1="finished", step_2="finished")
    write_sweep(tmp_path / "sweeps/b", step_3="finished", step_4="failed")
    found = find("outputs/*", at=tmp_path)
    assert names(found, tmp_path) == ["outputs/run9", "outputs/run10"]
    assert found.left_out == [f"Without results.jsonl, of {tmp_path}/outputs/*: {tmp_path}/outputs/broken."]
    assert [run.job for run in find("sweeps/*/0", at=tmp_path).runs] == ["step_1", "step_3"]
    found = find("sweeps/*", at=tmp_path)
    assert [run.job for run in found.runs] == ["step_1", "step_2", "step_3"]
    assert "step_4 (failed: no weights)" in found.left_out[0]
    assert names(find("outputs/*/results.jsonl", at=tmp_path), tmp_path) == ["outputs/run9", "outputs/run10"]
    assert names(find("outputs/run9/*", at=tmp_path), tmp_path) == ["outputs/run9"]


def test_a_run_that_is_named_twice_is_taken_once(tmp_path):
    write_sweep(tmp_path / "sweep", step_1="finished", step_2="finished")
    assert [run.job for run in find("sweep/1", "sweep", "sweep/*", at=tmp_path).runs] == ["step_2", "step_1"]


def test_a_folder_whose_name_looks_like_a_pattern_is_itself(tmp_path):
    write_run(tmp_path / "run[1]")
    assert names(find("run[1]", at=tmp_path), tmp_path) == ["run[1]"]


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        ("outputs/x*", "Looked in {at}/outputs; {at}/outputs holds broken, run1."),
        ("outputs/*/7", "Looked in {at}/outputs/broken, {at}/outputs/run1; {at}/outputs/broken holds nothing."),
        ("output/*", "Looked in {at}; {at} holds outputs. Did you mean outputs?"),
        ("outputs/b*", "Looked at {at}/outputs/broken: no results.jsonl there."),
    ],
)
def test_a_pattern_that_matches_no_run_says_what_was_looked_at(tmp_path, pattern, hint):
    write_run(tmp_path / "outputs/run1")
    (tmp_path / "outputs/broken").mkdir()
    with pytest.raises(UserError) as error:
        find(pattern, at=tmp_path)
    assert error.value.what == f"No run matches '{tmp_path}/{pattern}'."
    assert error.value.hint.startswith(hint.format(at=tmp_path))
