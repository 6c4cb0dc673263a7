"""What runs are called in a comparison."""

from pathlib import Path

from cmi_bench.tasks.run_labels import RunFacts, run_labels


def facts(folder, name=None, **config):
    return RunFacts(Path(folder) / "results.jsonl", {"model": {"name": name}, "config": config} if name else {})


def test_a_model_is_named_by_its_name_alone_where_that_is_enough():
    assert run_labels([facts("outputs/cmi_rm/10-00", "cmi_rm"), facts("outputs/signal/11-00", "signal")]) == [
        "cmi_rm",
        "signal",
    ]


def test_runs_of_one_model_by_the_settings_in_which_they_differ():
    config = {"model": {"name": "cmi_rm", "checkpoint": "runs/x/step_500"}, "precision": "32", "workers": 2}
    other = config | {"model": {"name": "cmi_rm", "checkpoint": "runs/x/step_900"}, "workers": 4}
    assert run_labels([facts("a", "cmi_rm", **config), facts("b", "cmi_rm", **other), facts("c", "signal")]) == [
        "cmi_rm (checkpoint=step_500)",
        "cmi_rm (checkpoint=step_900)",
        "signal",
    ]
    assert run_labels([facts("a", "m", max_dur=120.0), facts("b", "m", max_dur=30.0)]) == [
        "m (max_dur=120.0)",
        "m (max_dur=30.0)",
    ]


def test_runs_that_differ_in_too_much_are_named_by_their_folders():
    first = {"max_dur": 1.0, "precision": "32", "batch_size": 8, "seed": 0}
    second = {"max_dur": 2.0, "precision": "bf16", "batch_size": 4, "seed": 1}
    assert run_labels([facts("x/a", "m", **first), facts("x/b", "m", **second)]) == ["m (a)", "m (b)"]


def test_the_same_settings_are_told_apart_by_folder_and_then_by_its_parent():
    assert run_labels([facts("x/10-00", "m"), facts("x/11-00", "m")]) == ["m (10-00)", "m (11-00)"]
    assert run_labels([facts("x/0", "m"), facts("y/0", "m")]) == ["m (x/0)", "m (y/0)"]


def test_files_without_metadata_are_named_by_folder_or_file():
    assert run_labels([facts("x/one"), RunFacts(Path("x/other_model.jsonl"), {})]) == ["one", "other_model"]


def test_one_run_twice_is_numbered():
    assert run_labels([facts("x/0", "m"), facts("x/0", "m")]) == ["m #1", "m #2"]
    assert run_labels([]) == []


def job(folder, label, model="m", **config):
    return facts(folder, model, **config)._replace(job=label)


def test_jobs_are_called_as_in_their_sweep_with_the_model_where_there_are_several():
    sweep = [job("sweep/0", "step_5"), job("sweep/1", "step_10")]
    assert run_labels(sweep) == ["step_5", "step_10"]
    assert run_labels([*sweep, facts("plain/run", "m")]) == ["step_5", "step_10", "m"]
    assert run_labels([*sweep, facts("plain/run", "signal")]) == ["m step_5", "m step_10", "signal"]
    assert run_labels([job("sweep/0", "signal", "signal"), job("sweep/1", "m")]) == ["signal", "m"]


def test_jobs_of_two_sweeps_are_told_apart_by_their_settings_or_the_sweeps_folders():
    first, second = job("old/0", "step_5", max_dur=30.0), job("new/1", "step_5", max_dur=60.0)
    assert run_labels([first, second]) == ["step_5 (max_dur=30.0)", "step_5 (max_dur=60.0)"]
    assert run_labels([job("old/0", "step_5"), job("new/1", "step_5")]) == ["step_5 (old)", "step_5 (new)"]
