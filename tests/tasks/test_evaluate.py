"""What an evaluation leaves in its folder, and what it hands on."""

import csv
import json
import logging

import numpy as np
import pytest
import soundfile
from command_line import configured, run_task_here
from full_size import full_size_rows

from cmi_bench.tasks.evaluate import evaluate_and_report


def evaluated(folder, *words):
    run_task_here("task=evaluate", "metrics.resamples=20", *words, folder=folder)
    return folder


@pytest.fixture
def scored(tmp_path):
    """A run's folder with results, metadata that say where its data were, and audio there."""
    (tmp_path / "data/pam").mkdir(parents=True)
    rows = []
    for i in range(4):
        soundfile.write(tmp_path / f"data/pam/{i}.wav", np.zeros(800), 8000)
        rows.append({"source": "PAM (music)", "split": "test", "audio-path": f"pam/{i}.wav", "musicality": 1.0 + i,
                     "predicted_musicality": [3.0, 1.0, 2.0, 0.0][i], "inference_valid_a": True})  # fmt: skip
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    metadata = {"config": {"data": {"root": str(tmp_path / "data"), "name": "mini"}}, "git": {"commit": "abc123"}}
    (folder / "metadata.json").write_text(json.dumps(metadata))
    return folder


def test_the_report_is_written_and_handed_on_with_its_plots(scored, tmp_path):
    rows = [json.loads(line) for line in (scored / "results.jsonl").read_text().splitlines()]
    report = evaluate_and_report(
        rows, configured("metrics.resamples=20"), folder=tmp_path / "out", label="x", origin="y"
    )
    assert {tmp_path / "out/report.html", tmp_path / "out/plots"} <= set(report.files)
    assert all(path.exists() for path in report.files)


def test_it_can_be_left_out(scored, tmp_path):
    evaluated(tmp_path / "out", f"results={scored}", "metrics.report=false", "metrics=summary")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert "metrics.json" in names
    assert not names & {"report.html", "plots"}


def test_an_evaluation_finds_the_audio_where_the_run_had_it_and_says_what_was_run(scored, tmp_path):
    evaluated(tmp_path / "out", f"results={scored}")
    page = (tmp_path / "out/report.html").read_text()
    assert 'src="../data/pam/3.wav"' in page
    assert "abc123" in page


def test_damaged_metadata_cost_only_what_they_would_say(scored, tmp_path, caplog):
    (scored / "metadata.json").write_text("{")
    with caplog.at_level(logging.WARNING):
        evaluated(tmp_path / "out", f"results={scored}")
    assert "metadata.json cannot be read" in caplog.text
    assert "There is no metadata.json beside these results." in (tmp_path / "out/report.html").read_text()


@pytest.mark.slow
def test_an_evaluation_of_the_full_size_has_every_interval(tmp_path):
    rows = full_size_rows()
    assert len(rows) == 2753
    (tmp_path / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    clips = [row[field] for row in rows for field in ("audio-path", "audio2") if field in row]
    lengths = {clip: [12, 25, 45, 80, 200][at % 5] for at, clip in enumerate(clips)}
    (tmp_path / "durations.json").write_text(json.dumps(lengths))
    words = [f"results={tmp_path}/results.jsonl", "metrics=full", f"metrics.durations={tmp_path}/durations.json"]
    run_task_here("task=evaluate", *words, folder=tmp_path / "out")
    assert (tmp_path / "out/report.html").exists()
    with (tmp_path / "out/metrics_intervals.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert {line["resamples"] for line in lines} == {"10000"}
    assert len(lines) > 60
    # PAM's five systems are too few for intervals of their means.
    assert all(line["ci_low"] or line["metric"].startswith("System") for line in lines)


def test_what_has_to_be_known_of_the_rows_stands_wherever_their_figures_stand(scored, tmp_path, capsys):
    metadata = json.loads((scored / "metadata.json").read_text())
    metadata["config"]["data"]["note"] = "These rows are <made up>."
    (scored / "metadata.json").write_text(json.dumps(metadata))
    evaluated(tmp_path / "out", f"results={scored}")
    assert "These rows are <made up>." in capsys.readouterr().out
    assert "These rows are <made up>." in json.loads((tmp_path / "out/metrics.json").read_text())["notes"]
    assert "These rows are &lt;made up&gt;." in (tmp_path / "out/report.html").read_text()


def test_the_mini_benchmark_says_that_its_faults_are_those_of_the_signal_baseline(scored, tmp_path, capsys):
    (scored / "metadata.json").unlink()
    evaluated(tmp_path / "out", f"results={scored}", "data=mini", "metrics.report=false")
    assert "model=signal measures" in " ".join(capsys.readouterr().out.split())
    evaluated(tmp_path / "real", f"results={scored}", "metrics.report=false")
    assert "signal" not in capsys.readouterr().out
