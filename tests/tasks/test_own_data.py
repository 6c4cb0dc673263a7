"""A table of one's own, from the command to the report."""

import csv
import json
import re
import shlex

import pytest
from command_line import PROJECT, run_command, run_task_here
from own_tables import write_song, write_table, write_twenty_songs
from registries import restored_registries
from typer.testing import CliRunner

from cmi_bench import evaluate
from cmi_bench.cli.app import app
from cmi_bench.data import datasets, fields
from cmi_bench.tracking.metadata import own_roots, read_metadata

RATERS = ("anna", "ben", "chloe")


@pytest.fixture(scope="module", autouse=True)
def registries():
    with restored_registries():
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Seven songs, one of which is not there, and a table of three raters' ratings from 0 to 100."""
    folder = tmp_path_factory.mktemp("own")
    rows = [
        {"file": f"songs/{at}.wav", "caption": f"prompt {at // 2}", "score": 10 * at + 3 * place, "listener": rater,
         "Genre": ("pop", "jazz")[at % 2], "model": f"system {at % 3}"}
        for at in range(7) for place, rater in enumerate(RATERS)
    ]  # fmt: skip
    for at in range(6):
        write_song(folder / "songs" / f"{at}.wav", hertz=200.0 + 50 * at)
    write_table(folder / "My ratings.csv", rows)
    write_table(
        folder / "pairs.jsonl",
        [{"A": f"songs/{at}.wav", "B": f"songs/{at + 1}.wav", "winner": "B"} for at in range(5)],
    )
    return folder


WORDS = (
    *("model=reversed_oracle", "tracking=none", "cache=off", "on_error=record", "workers=0"),
    *("metrics.resamples=0", "metrics.report=false"),
)


@pytest.fixture(scope="module")
def run(folder):
    table = f"data.csv='{folder}/My ratings.csv'"
    manifest = f"data.manifest={folder}/cache/manifest.parquet"
    run_task_here(*WORDS, "data=custom", table, "data.group_by=[genre]", manifest, folder=folder / "run")
    return folder / "run"


def read(file):
    with file.open() as opened:
        return list(csv.DictReader(opened))


def test_the_table_has_its_name_and_groups(run):
    summary = read(run / "metrics_summary.csv")
    assert [(line["dataset"], line["task"], line["n"], line["n_failed"]) for line in summary] == [
        ("My_ratings", "musicality", "7", "1")
    ]
    groups = [(line["group_key"], line["group_value"], line["n"]) for line in read(run / "metrics_detail.csv")]
    assert groups == [("Genre", "jazz", "3"), ("Genre", "pop", "4")]
    assert [line["metric"] for line in read(run / "metrics_raters.csv")] == ["SRCC", "LCC", "K-Tau"]


def test_results_say_what_they_are(run):
    rows = [json.loads(line) for line in (run / "results.jsonl").read_text().splitlines()]
    assert rows[1][fields.RATINGS] == {"musicality": {"anna": 10, "ben": 13, "chloe": 16}}
    assert rows[1][fields.AUDIO_A] == "songs/1.wav"
    with restored_registries():
        datasets._datasets.pop("my_ratings")  # as in another process
        (record,) = evaluate(run).summary
    assert (record.dataset, record.n) == ("My_ratings", 7)
    metadata = json.loads((run / "metadata.json").read_text())
    assert metadata["data"]["own"]["My_ratings"]["root"] == str(run.parent)


@pytest.mark.slow  # a report with its plots
def test_another_command_evaluates_them_and_its_report_plays_the_songs(run, folder):
    run_task_here("task=evaluate", f"results={run}", "metrics.resamples=0", folder=folder / "again")
    assert (folder / "again" / "metrics_summary.csv").read_text() == (run / "metrics_summary.csv").read_text()
    page = (folder / "again" / "report.html").read_text()
    assert "../songs/" in page
    assert "Krippendorff" in page


def test_several_tables_stand_beside_the_benchmarks_rows(folder, tiny):
    own = f"+data.own={{rated: {{csv: '{folder}/My ratings.csv'}}, compared: {{csv: {folder}/pairs.jsonl}}}}"
    words = (*WORDS, f"data.root={tiny}", f"data.jsonl={tiny}/all_test.jsonl", "metrics.by_duration=true")
    run_task_here(*words, "metrics.duration_bins=[0,10]", own, folder=folder / "both")
    lines = read(folder / "both" / "metrics_summary.csv")
    assert [(line["dataset"], line["task"]) for line in lines[-2:]] == [
        ("rated", "musicality"), ("compared", "preference"),
    ]  # fmt: skip
    assert [line["ACC"] for line in lines if line["dataset"] == "compared"] == ["0.0"]
    by_duration = {line["dataset"] for line in read(folder / "both" / "metrics_detail.csv")
                   if line["group_key"] == "duration_bin"}  # fmt: skip
    assert {"rated", "compared", "PAM"} <= by_duration
    assert own_roots(read_metadata(folder / "both" / "metadata.json")) == {"rated": folder, "compared": folder}


@pytest.mark.slow
def test_twenty_songs_as_the_page_has_them(tmp_path, monkeypatch):
    """The first two commands of docs/own-data.md on the songs that it speaks of, and what it shows of their output."""
    write_twenty_songs(tmp_path)
    monkeypatch.chdir(tmp_path)
    page = (PROJECT / "docs" / "own-data.md").read_text()
    shown = dict(re.findall(r"^```console\n\$ (.+)\n((?:.*\n)*?)```", page, re.M))
    imported, scored = shown
    understood = CliRunner().invoke(app, shlex.split(imported)[1:], env={"XDG_CACHE_HOME": str(tmp_path / "cache")})
    assert understood.exit_code == 0
    assert _facts(understood.stdout) == _facts(shown[imported])
    assert understood.stdout.splitlines()[-1].endswith(shlex.join(shlex.split(scored)))
    quick = ("tracking=none", f"cache.dir={tmp_path}/cache", "hydra.run.dir=run", "workers=0", "+device=cpu")
    done = run_command(*shlex.split(scored)[2:], *quick)
    assert done.returncode == 0, done.stderr
    people = re.compile(r"my_songs musicality: 3 raters.*The model against the same", re.S)
    assert people.search(done.stdout)[0] == people.search(shown[scored])[0]
    assert (
        done.stdout.count("my_songs") == shown[scored].count("my_songs") + 1
    )  # the page leaves the unit of intervals out


def _facts(text):
    """Return the lines of what was understood, without the folder that the songs are in."""
    facts, _, command = text.partition(" audio ")
    rest = command[command.index(" musicality ") :]
    return [line.rstrip() for line in (facts + rest).splitlines()]
