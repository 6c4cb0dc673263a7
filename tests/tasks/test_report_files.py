"""What an evaluation leaves in its folder, and what it hands on."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hydra import compose, initialize_config_dir

from cmi_bench.config import checked
from cmi_bench.hydra_setup import register
from cmi_bench.tasks.evaluate import evaluate_and_report
from cmi_bench.tasks.evaluate import run_evaluate as evaluate_task

PROJECT = Path(__file__).parents[2]


def configured(*words):
    register(PROJECT)
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        return checked(compose("config", overrides=["task=evaluate", "metrics.resamples=20", *words]))


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
    report = evaluate_and_report(rows, configured(), folder=tmp_path / "out", label="x", origin="y")
    assert {tmp_path / "out/report.html", tmp_path / "out/plots"} <= set(report.files)
    assert all(path.exists() for path in report.files)


def test_it_can_be_left_out(scored, tmp_path):
    evaluate_task(configured(f"results={scored}", "metrics.report=false", "metrics=summary"), tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert "metrics.json" in names
    assert not names & {"report.html", "plots"}


def test_an_evaluation_finds_the_audio_where_the_run_had_it_and_says_what_was_run(scored, tmp_path):
    evaluate_task(configured(f"results={scored}"), tmp_path / "out")
    page = (tmp_path / "out/report.html").read_text()
    assert 'src="../data/pam/3.wav"' in page
    assert "abc123" in page


def test_damaged_metadata_cost_only_what_they_would_say(scored, tmp_path, caplog):
    (scored / "metadata.json").write_text("{")
    with caplog.at_level(logging.WARNING):
        evaluate_task(configured(f"results={scored}"), tmp_path / "out")
    assert "metadata.json cannot be read" in caplog.text
    assert "There is no metadata.json beside these results." in (tmp_path / "out/report.html").read_text()
