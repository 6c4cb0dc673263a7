"""Sweeps from the command line's words to the table, in this process."""

import csv
import json
from types import SimpleNamespace

import pytest
from command_line import run_command
from mlflow import MlflowClient
from omegaconf import OmegaConf

from cmi_bench.config import Config, DataConfig, SubsetConfig, TrackingConfig
from cmi_bench.evaluation.metrics import MetricKey
from cmi_bench.reporting.sweep_jobs import SweepJob, Value
from cmi_bench.sweeps.sweep import parent_run, tell_mlflow


def table(folder):
    with (folder / "sweep.csv").open() as file:
        return {row["label"]: row for row in csv.DictReader(file)}


def calls():
    import sweep_models

    return sweep_models.Sleeper.calls


def test_every_sweep_ends_with_a_table_of_its_jobs(sweep, tmp_path, capsys):
    sweep("max_dur=5,10", "data.note='Rows that were made up.'")
    rows = table(tmp_path / "sweep")
    assert list(rows) == ["max_dur=5", "max_dur=10"]
    for number, label in enumerate(rows):
        measured = json.loads((tmp_path / f"sweep/{number}/metrics.json").read_text())["summary"]
        srcc = next(line["SRCC"] for line in measured if line["dataset"] == "PAM" and line["task"] == "musicality")
        assert float(rows[label]["PAM/musicality/SRCC"]) == srcc
        assert rows[label]["status"] == "finished"
    said = capsys.readouterr().out
    assert f"{float(rows['max_dur=10']['PAM/musicality/SRCC']):.4f}" in said.rpartition("max_dur=10")[2]
    assert {"sweep.md", "comparison.md", "metrics_by_job.png"} <= {one.name for one in (tmp_path / "sweep").iterdir()}
    assert "do not differ significantly" in (tmp_path / "sweep/sweep.md").read_text()
    assert said.count("Rows that were made up.") == 3  # below each job's table, and below the sweep's


@pytest.mark.slow
def test_a_sweep_has_a_page_that_links_to_the_jobs_pages(sweep, tmp_path, capsys):
    sweep("max_dur=5,10", "metrics.report=true")
    page = (tmp_path / "sweep/report.html").read_text()
    assert f"Report: {tmp_path}/sweep/report.html" in capsys.readouterr().out
    assert '<a href="0/report.html">max_dur=5</a>' in page
    assert (tmp_path / "sweep/0/report.html").is_file()
    assert "pam/0.wav" in page  # with a player, as it is found under the data's root
    assert "No player" not in page


@pytest.mark.slow
def test_models_of_earlier_jobs_do_not_stay_in_memory(sweep, tmp_path):
    (tmp_path / "fails_20").touch()
    with pytest.raises(SystemExit):
        sweep("max_dur=5,10,20,30,40")
    import sweep_models

    assert sweep_models.Sleeper.others == [0, 0, 0, 0, 0]


@pytest.mark.slow
def test_a_job_that_fails_ends_none_of_the_others_and_is_named(sweep, tmp_path, capsys):
    (tmp_path / "fails_10").touch()
    with pytest.raises(SystemExit, match=r"1 of 3 jobs did not finish: max_dur=10 \(failed\)") as error:
        sweep("max_dur=5,10,20")
    assert f"hydra.sweep.dir={tmp_path}/sweep" in str(error.value)
    rows = table(tmp_path / "sweep")
    assert [row["status"] for row in rows.values()] == ["finished", "failed", "finished"]
    assert "RuntimeError: boom" in rows["max_dur=10"]["message"]
    assert rows["max_dur=10"]["PAM/musicality/SRCC"] == ""
    captured = capsys.readouterr()
    assert "RuntimeError: boom" in captured.err
    assert "max_dur=10: " in captured.out


@pytest.mark.slow
def test_started_again_it_goes_on_with_what_was_not_finished(sweep, tmp_path):
    (tmp_path / "fails_10").touch()
    with pytest.raises(SystemExit):
        sweep("max_dur=5,10")
    before = table(tmp_path / "sweep")
    (tmp_path / "fails_10").unlink()
    calls().clear()
    sweep("max_dur=5,10", "workers=1", "workers=0")  # what changes no score makes no other job of it
    assert set(calls()) == {10}
    after = table(tmp_path / "sweep")
    assert after["max_dur=5"] == before["max_dur=5"]
    assert [row["status"] for row in after.values()] == ["finished", "finished"]
    sweep("max_dur=5,10", "resume=false")
    assert set(calls()) == {5, 10}
    sweep("max_dur=5,10", "metrics.resamples=40")  # another job in the same folder
    for number in (0, 1):
        config = json.loads((tmp_path / f"sweep/{number}/metrics.json").read_text())["config"]
        assert config["metrics"]["resamples"] == 40


@pytest.mark.slow
def test_a_checkpoint_that_sorts_earlier_runs_alone_and_the_others_keep_their_folders(sweep, tmp_path):
    store = f"sqlite:///{tmp_path}/mlflow.db"
    words = ["+sweep=checkpoints", f"sweep.checkpoint_dir={tmp_path}/ckpts", f"tracking.uri={store}"]
    (tmp_path / "ckpts").mkdir()
    for step in (500, 1000):
        (tmp_path / f"ckpts/step_{step}.ckpt").touch()
    sweep(*words)
    first = (tmp_path / "sweep/0/results.jsonl").stat().st_mtime_ns
    calls().clear()
    (tmp_path / "ckpts/step_100.ckpt").touch()
    sweep(*words)
    assert {path.rpartition("/")[2] for path in calls()} == {"step_100.ckpt"}
    rows = table(tmp_path / "sweep")
    assert [(label, row["job"], row["status"]) for label, row in rows.items()] == [
        ("step_100", "2", "finished"),
        ("step_500", "0", "finished"),
        ("step_1000", "1", "finished"),
    ]
    assert (tmp_path / "sweep/0/results.jsonl").stat().st_mtime_ns == first
    client = MlflowClient(store)
    experiments = [one.experiment_id for one in client.search_experiments()]
    jobs = [run.data.tags.get("sweep_job") for run in client.search_runs(experiments)]
    assert sorted(filter(None, jobs)) == ["0", "1", "2"], "a run for each job, also after going on"
    calls().clear()
    sweep(*words, "sweep.pattern=step_1000*")  # a part of it, and then all of it again
    (tmp_path / "ckpts/step_500.ckpt").write_bytes(b"other weights")
    sweep(*words)
    assert {path.rpartition("/")[2] for path in calls()} == {"step_500.ckpt"}
    assert sorted(path.name for path in (tmp_path / "sweep").iterdir() if path.is_dir()) == ["0", "1", "2"]


@pytest.mark.slow
def test_checkpoints_with_the_same_weights_are_named_before_and_after(sweep, tmp_path, capsys, caplog):
    (tmp_path / "ckpts").mkdir()
    for step, content in ((1, "a"), (2, "b"), (3, "a")):
        (tmp_path / f"ckpts/step_{step}.ckpt").write_text(content)
    sweep("+sweep=checkpoints", f"sweep.checkpoint_dir={tmp_path}/ckpts")
    assert "step_1 and step_3 have the same files: they will have the same scores." in caplog.text
    note = "step_1 and step_3 have the same weights: same scores."
    assert capsys.readouterr().out.count(note) == 1
    assert note.replace("_", "\\_") in (tmp_path / "sweep/sweep.md").read_text()
    rows = table(tmp_path / "sweep")
    assert rows["step_1"]["weights"] == rows["step_3"]["weights"] != rows["step_2"]["weights"]


@pytest.mark.slow
def test_files_may_be_named_by_a_pattern(sweep, tmp_path):
    (tmp_path / "ckpts").mkdir()
    for name in ("step_1000.ckpt", "step_500.ckpt", "step_500.txt"):
        (tmp_path / "ckpts" / name).touch()
    sweep("model.checkpoint=glob(ckpts/*.ckpt)")
    assert list(table(tmp_path / "sweep")) == ["step_500", "step_1000"]
    assert list(dict.fromkeys(calls())) == ["ckpts/step_500.ckpt", "ckpts/step_1000.ckpt"]


@pytest.mark.slow
def test_ctrl_c_leaves_the_table_of_what_there_is(sweep, tmp_path, capsys):
    (tmp_path / "stops_10").touch()
    with pytest.raises(KeyboardInterrupt):
        sweep("max_dur=5,10,20")
    assert [row["status"] for row in table(tmp_path / "sweep").values()] == ["finished", "killed", "not run"]
    assert "max_dur=5" in capsys.readouterr().out


@pytest.mark.slow
def test_checkpoints_of_a_folder_are_taken_by_step_whatever_their_names_hold(sweep, tmp_path):
    for name in ("step=1000.ckpt", "step=500, x's.ckpt", "best model.pt", "notes.txt"):
        (tmp_path / "ckpts").mkdir(exist_ok=True)
        (tmp_path / "ckpts" / name).touch()
    sweep("+sweep=checkpoints", f"sweep.checkpoint_dir={tmp_path}/ckpts")
    paths = dict.fromkeys(calls())
    assert [path.rpartition("/")[2] for path in paths] == ["step=500, x's.ckpt", "step=1000.ckpt", "best model.pt"]
    assert [row["step"] for row in table(tmp_path / "sweep").values()] == ["500", "1000", ""]
    calls().clear()
    sweep(
        "+sweep=checkpoints", f"sweep.checkpoint_dir={tmp_path}/ckpts", "sweep.pattern=*1000*", folder=tmp_path / "one"
    )
    assert list(table(tmp_path / "one")) == ["step=1000"]


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["+sweep=checkpoints"], "+sweep=checkpoints needs the folder"),
        (["+sweep=checkpoints", "sweep.checkpoint_dir=nowhere"], "sweep.checkpoint_dir=nowhere is no folder"),
        (["+sweep=checkpoints", "sweep.checkpoint_dir=."], "There is no checkpoint in ."),
        (["max_dur=5,long"], "max_dur=long is no number."),
        (["subset=pam,pan"], "There is no subset=pan."),
        (["subset=glob(x*)"], "The sweep has no jobs"),
        (["model.checkpoint=glob(runs/ckpts/*)"], "No file or folder matches model.checkpoint=glob(runs/ckpts/*)"),
        (["max_dur=5,10", "+subet=pam"], "There is no setting 'subet'"),
        (["+sweep=revisions"], "+sweep=revisions needs a repository"),
        (["max_dur=5,10", "tracking=csv", "tracking.folder=null"], "tracking.kind=csv needs tracking.folder"),
    ],
)
def test_mistakes_are_named_before_anything_runs(sweep, tmp_path, words, what):
    with pytest.raises(SystemExit) as error:
        sweep(*words)
    message, _, hint = str(error.value).partition("\n  -> ")
    assert message.startswith(what)
    assert hint
    assert not (tmp_path / "sweep").exists()


def test_several_devices_in_a_job_are_refused(tiny, tmp_path):
    data = [f"data.root={tiny}", f"data.jsonl={tiny}/all_test.jsonl", "tracking=none", "cache=off"]
    done = run_command("-m", "model=constant", "device=cpu_ddp", *data, f"hydra.sweep.dir={tmp_path}/sweep")
    assert done.returncode == 1
    assert "A sweep runs each job on one device" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_jobs_over_different_rows_are_shown_and_not_compared(sweep, tmp_path, caplog):
    sweep("subset=pam,musiceval")
    assert "The jobs are not compared" in caplog.text
    assert set(table(tmp_path / "sweep")) == {"subset=pam", "subset=musiceval"}
    assert not (tmp_path / "sweep/comparison.md").exists()


@pytest.mark.slow
def test_the_command_line_comes_before_the_recipe(sweep, tmp_path):
    sweep("+sweep=max_dur", "max_dur=7,8")
    assert list(table(tmp_path / "sweep")) == ["max_dur=7", "max_dur=8"]


@pytest.mark.slow
def test_hydra_writes_down_the_sweep_with_what_was_listed(sweep, tmp_path):
    (tmp_path / "ckpts").mkdir()
    (tmp_path / "ckpts/step_1.ckpt").touch()
    sweep("+sweep=checkpoints", f"sweep.checkpoint_dir={tmp_path}/ckpts")
    written = OmegaConf.load(tmp_path / "sweep/multirun.yaml")
    assert written.hydra.sweeper.params["model.checkpoint"] == f"'{tmp_path}/ckpts/step_1.ckpt'"


@pytest.mark.parametrize("words", [["--cfg", "job"], ["--help"], ["modl=x"], ["--cfg", "all"]])
def test_nothing_is_listed_while_composing(words, monkeypatch):
    def listed(*args):
        raise AssertionError("The hub was asked.")

    monkeypatch.setattr("cmi_bench.sweeps.checkpoints.hub_revisions", listed)
    done = run_command("+sweep=revisions", "sweep.repo=No/Model", *words)
    assert done.returncode == ("modl=x" in words)
    assert "asked" not in done.stderr


@pytest.mark.slow
def test_a_process_of_joblib_that_dies_ends_no_other_job(sweep, tmp_path):
    (tmp_path / "dies_10").touch()
    with pytest.raises(SystemExit, match=r"1 of 4 jobs did not finish: max_dur=10 \(killed\)"):
        sweep("max_dur=5,10,20,30", "+launch=joblib")
    rows = table(tmp_path / "sweep")
    assert [row["status"] for row in rows.values()] == ["finished", "killed", "finished", "finished"]
    assert "Its process died" in rows["max_dur=10"]["message"]


SRCC, LCC = MetricKey("PAM", "musicality", "SRCC"), MetricKey("PAM", "musicality", "LCC")


def job(number, folder, *, status="finished", step=None, message="", value=None):
    values = {} if value is None else {SRCC: Value(value, None, None), LCC: Value(-value, None, None)}
    return SweepJob(
        number=number, label=f"job {number}", step=step, status=status, message=message, folder=folder,
        ended=100.0 + number, values=values,
    )  # fmt: skip


class Recorder:
    """A parent run that keeps what it is told."""

    def __init__(self, **params):
        self.description = SimpleNamespace(params=params)
        self.told = {}

    def __getattr__(self, name):
        return lambda *words: self.told.__setitem__(name, words[0] if len(words) == 1 else words)


@pytest.mark.parametrize("by_step", [True, False])
def test_mlflow_is_told_of_each_job_and_of_the_main_metrics_along_the_sweep(tmp_path, by_step):
    (tmp_path / "sweep.md").write_text("# Heading\n\nThe table\n\nNotes\n")
    steps = (500, 1000) if by_step else (None, None)
    jobs = [
        job(0, tmp_path, step=steps[0], value=0.25),
        job(1, tmp_path, step=steps[1], value=0.5),
        job(2, tmp_path, status="failed", message="no"),
        job(3, tmp_path, status="running"),
        job(4, tmp_path, status="not run"),
    ]
    run = Recorder(model="cmi_rm", dataset="mini")
    tell_mlflow(run, jobs, tmp_path / "sweep.md", [tmp_path / "sweep.csv"])

    ends = run.told["end_children"]
    assert [(end.number, end.name, end.status, end.message) for end in ends] == [
        (0, "cmi_rm job 0 on mini", "FINISHED", ""),
        (1, "cmi_rm job 1 on mini", "FINISHED", ""),
        (2, "cmi_rm job 2 on mini", "FAILED", "no"),
        (3, "cmi_rm job 3 on mini", "KILLED", ""),
    ]
    assert ends[1].metrics == {"PAM/musicality SRCC": 0.5, "PAM/musicality LCC": -0.5}
    assert ends[0].step == (steps[0] or 0)
    assert ends[0].tags == {"model": "cmi_rm", "dataset": "mini"}
    assert ends[0].params == {"model": "cmi_rm", "dataset": "mini", **({"step": "500"} if by_step else {})}
    assert run.told["log_metrics"] == {"jobs": 5, "jobs_finished": 2, "jobs_failed": 3}
    name = f"PAM by {'step' if by_step else 'job'}/musicality SRCC"
    places = steps if by_step else (0, 1)
    assert run.told["log_points"] == [(name, places[0], 0.25, 100.0), (name, places[1], 0.5, 101.0)]
    assert run.told["describe"] == ("The table\n\nNotes\n", [tmp_path / "sweep.csv"])


def test_figures_along_a_sweep_over_trainings_are_called_those_of_rows_set_aside(tmp_path):
    (tmp_path / "sweep.md").write_text("# Heading\n\nThe table\n")
    jobs = [job(0, tmp_path, value=0.25), job(1, tmp_path, value=0.5)]
    run = Recorder(model="cmi_rm", dataset="mini")
    tell_mlflow(run, jobs, tmp_path / "sweep.md", [], task="train")
    name = "validation by job/PAM musicality SRCC"
    assert run.told["log_points"] == [(name, 0, 0.25, 100.0), (name, 1, 0.5, 101.0)]
    assert run.told["end_children"][0].metrics["validation/PAM musicality SRCC"] == 0.25


@pytest.mark.parametrize(
    ("swept", "same"),
    [
        (["max_dur"], {"model": "signal", "dataset": "mini/pam"}),
        (["model", "max_dur"], {"dataset": "mini/pam"}),
        (["subset"], {"model": "signal"}),
        (["data.jsonl"], {"model": "signal"}),
    ],
)
def test_the_run_above_the_jobs_has_what_they_have_in_common(swept, same):
    data, subset, tracking = DataConfig(name="mini"), SubsetConfig(name="pam"), TrackingConfig("none")
    config = Config(model={"name": "signal"}, data=data, subset=subset, tracking=tracking, task="benchmark")
    described = parent_run("mine", config, swept).description
    assert (described.name, described.params) == ("mine", same)
    own = {key: tag for key, tag in described.tags.items() if not key.startswith("mlflow.")}
    assert own == same | {"sweep": ", ".join(swept)}
    assert described.tags["mlflow.source.type"] == "LOCAL"
