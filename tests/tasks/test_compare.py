"""`task=compare` and `task=leaderboard` as people start them, with their mistakes."""

import csv
import json

import pytest
from command_line import run_command, run_task_here
from full_size import full_size_rows

from cmi_bench.errors import UserError
from cmi_bench.tracking.ledger import Look, record_looks

FEW = "metrics.resamples=200"


def do(task, folder, *words):
    """Run a task in this process, which spares starting Python and importing MLflow again."""
    run_task_here(f"task={task}", *words, folder=folder)


def write_run(folder, rows, name=None):
    folder.mkdir(parents=True)
    (folder / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if name:
        config = {"data": {"note": "Rows that were made up."}}
        (folder / "metadata.json").write_text(json.dumps({"model": {"name": name}, "config": config}))
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    weak, strong = full_size_rows(0.2, 1)[::8], full_size_rows(2.0, 2)[::8]
    write_run(root / "weak", weak, "weak_model")
    # The same rows in another order.
    write_run(root / "strong", strong[::-1], "strong_model")
    write_run(root / "fewer", strong[:-5])
    (root / "unfinished").mkdir()
    write_run(root / "empty", [])
    write_run(root / "sweep" / "0", weak)
    return root


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_two_runs_are_compared(runs, tmp_path):
    done = run_command(
        "task=compare", f"runs=[{runs}/weak,{runs}/strong/results.jsonl]", FEW, f"hydra.run.dir={tmp_path}"
    )
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert f"Results: {tmp_path}" in done.stdout
    assert {path.name for path in tmp_path.iterdir()} >= {"comparison.csv", "comparison.md", "disagreements.csv"}
    lines = read(tmp_path / "comparison.csv")
    assert {(line["run_a"], line["run_b"]) for line in lines} == {("weak_model", "strong_model")}
    assert all(float(line["difference"]) < 0 for line in lines)
    assert {line["significant"] for line in lines if line["dataset"] == "PAM"} == {"True"}


@pytest.mark.slow
def test_other_rows_are_refused_with_counts_or_intersected(runs, tmp_path, capsys):
    words = [f"runs=[{runs}/strong,{runs}/fewer]", FEW]
    with pytest.raises(UserError) as refused:
        do("compare", tmp_path, *words)
    assert "strong_model: 345 rows, 5 of them not in every run" in refused.value.what
    assert "intersect=true" in refused.value.hint
    do("compare", tmp_path, *words, "intersect=true")
    assert "Compared on the 340 rows that all runs have." in capsys.readouterr().out
    assert {line["p_holm"] for line in read(tmp_path / "comparison.csv")} == {"1.0"}


MISTAKES = [
    ("compare", [], "needs two or more runs; given is none", "runs=[A,B]"),
    ("compare", ["runs=[{runs}/weak]"], "given is one: ", "runs=[A,B]"),
    ("compare", ["runs=[{runs}/weak,{runs}/unfinished]"], "unfinished has no results.jsonl", "finished?"),
    ("compare", ["runs=[{runs}/weak,{runs}/sweep]"], "sweep has no results.jsonl", "/sweep/*']"),
    ("compare", ["runs=[{runs}/weak,{runs}/empty]"], "results.jsonl is empty", "finished?"),
    ("compare", ["runs=[{runs}/weak,'{runs}/w*']"], "given is one: ", "runs=[A,B]"),
    ("compare", ["runs=['{runs}/none*','{runs}/weak']"], "No run matches", "Looked in {runs}; {runs} holds empty, few"),
    ("leaderboard", ["runs=['{runs}/unf*']"], "No run matches", "Looked at {runs}/unfinished: no results.jsonl there"),
    ("compare", ["runs=[{runs}/weak,nowhere]"], "There is no run 'nowhere'", "MLflow run id"),
    ("compare", ["runs=[{runs}/weak,{runs}/strong]", "alpha=5"], "alpha=5.0 is not between 0 and 1", "0.05"),
    ("compare", ["runs=[{runs}/weak,{runs}/strong]", "metrics.resamples=0"], "leaves nothing to compare by", ""),
    ("compare", ["runs=[" + "0" * 32 + ",{runs}/weak]", "tracking=none"], "no store is named", "tracking.uri"),
    ("leaderboard", ["runs=[{runs}/unfinished]"], "unfinished has no results.jsonl", "finished?"),
    ("leaderboard", ["alpha=0"], "alpha=0.0 is not between 0 and 1", "0.05"),
]


@pytest.mark.parametrize(("task", "words", "says", "hint"), MISTAKES)
def test_mistakes_are_explained(runs, tmp_path, task, words, says, hint):
    with pytest.raises(UserError) as error:
        do(task, tmp_path, *(word.format(runs=runs) for word in words))
    assert says in error.value.what
    assert "Rows that were made up" not in error.value.what
    assert hint.format(runs=runs) in error.value.hint


@pytest.mark.parametrize("words", [["task=compare"], ["task=leaderboard", "runs=[{runs}/unfinished]"]])
def test_a_mistake_gets_one_message(runs, tmp_path, words):
    done = run_command(*(word.format(runs=runs) for word in words), f"hydra.run.dir={tmp_path}")
    assert done.returncode == 1
    assert "->" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.slow
def test_the_leaderboard_without_runs_and_with(runs, tmp_path, capsys):
    done = run_command("task=leaderboard", f"hydra.run.dir={tmp_path}/none")
    assert done.returncode == 0, done.stderr
    assert "SongEval-RM" in done.stdout
    files = {path.name for path in (tmp_path / "none").glob("leaderboard.*")}
    assert files == {f"leaderboard.{form}" for form in ("csv", "md", "tex", "html")}
    do("leaderboard", tmp_path / "own", f"runs=[{runs}/weak,{runs}/strong]", FEW)
    assert "▸ strong_model" in capsys.readouterr().out
    own = [line for line in read(tmp_path / "own/leaderboard.csv") if line["kind"] == "own"]
    assert {line["significance_group"] for line in own} >= {"a", "b"}


def test_the_leaderboard_says_how_many_checkpoints_were_looked_at(runs, tmp_path, capsys):
    rows = full_size_rows(0.2, 1)[::40]
    model = {"name": "mine", "weights": "w2", "digest": "w2"}
    datasets = [{"name": "PAM", "rows": 5, "digest": "d"}]
    about = {
        "model": model, "data": {"datasets": datasets},
        "config": {"model": {"name": "mine"}, "data": {"name": "benchmark", "split": "test"}},
    }  # fmt: skip
    (write_run(tmp_path / "mine", rows) / "metadata.json").write_text(json.dumps(about))
    write_run(tmp_path / "other", rows)
    ledger = tmp_path / "eval_budget.jsonl"
    looks = [Look("t", "benchmark", "PAM", "d", 5, f"w{step}", "mine", f"c/step_{step}", "c", "r") for step in range(8)]
    record_looks(ledger, looks)
    words = [f"runs=[{tmp_path}/mine,{tmp_path}/other]", "metrics.resamples=0", f"ledger={ledger}"]
    do("leaderboard", tmp_path / "board", *words)
    told = "Looks at the test sets, over all checkpoints of a run's training: mine 8."
    assert told in " ".join(capsys.readouterr().out.split())
    for form in ("md", "html"):
        assert (
            told.replace("'", {"md": "'", "html": "&#39;"}[form])
            in (tmp_path / f"board/leaderboard.{form}").read_text()
        )
    lines = read(tmp_path / "board/leaderboard.csv")
    assert {line["looks"] for line in lines if line["model"] == "mine"} == {"8"}
    assert {line["looks"] for line in lines if line["model"] != "mine"} == {""}


@pytest.mark.parametrize("task", ["compare", "leaderboard"])
def test_what_has_to_be_known_of_the_rows_stands_below_their_figures(runs, tmp_path, capsys, task):
    do(task, tmp_path, f"runs=[{runs}/weak,{runs}/strong]", FEW)
    assert capsys.readouterr().out.count("Rows that were made up.") == 1
    name = {"compare": "comparison.md", "leaderboard": "leaderboard.html"}[task]
    assert "Rows that were made up." in (tmp_path / name).read_text()


@pytest.fixture(scope="module")
def store(runs, tmp_path_factory):
    """A SQLite store with one run that has results and one that has none."""
    from cmi_bench.config import TrackingConfig
    from cmi_bench.tracking.mlflow_store import open_experiment

    folder = tmp_path_factory.mktemp("store")
    uri = f"sqlite:///{folder}/mlflow.db"
    client, experiment = open_experiment(TrackingConfig("here", uri=uri, artifacts=str(folder / "artifacts")))
    ids = []
    for name in ("strong", "unfinished"):
        run_id = client.create_run(experiment, run_name=name).info.run_id
        for path in (runs / name).iterdir():
            client.log_artifact(run_id, str(path))
        ids.append(run_id)
    return uri, *ids


@pytest.mark.slow
def test_a_run_in_mlflow_is_fetched_by_its_id(runs, tmp_path, store, capsys):
    uri, with_results, without = store
    words = [FEW, f"tracking.uri={uri}"]
    do("compare", tmp_path / "done", *words, f"runs=[{runs}/weak,{with_results}]")
    assert "strong_model" in capsys.readouterr().out
    assert (tmp_path / "done/fetched_runs" / with_results / "results.jsonl").exists()
    missing = "0" * 31 + "f"
    for given, says in ((without, "has no results.jsonl among its artifacts"), (missing, "not found")):
        with pytest.raises(UserError, match=says):
            do("compare", tmp_path / "failed", *words, f"runs=[{runs}/weak,{given}]")


@pytest.mark.slow
def test_a_store_that_is_not_there_is_not_made(runs, tmp_path):
    with pytest.raises(UserError, match="There is no MLflow store at"):
        do("compare", tmp_path, f"runs=[{runs}/weak,{'0' * 32}]", f"tracking.uri=sqlite:///{tmp_path}/none.db")
    assert not (tmp_path / "none.db").exists()
