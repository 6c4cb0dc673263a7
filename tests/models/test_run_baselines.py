"""`run.py model=...` of the models that embed, on a few rows of the mini benchmark."""

import json
from pathlib import Path

import pytest
from tiny_audiobox import make_small, save_small_audiobox
from tiny_clap import save_small_clap

BUNDLE = Path(__file__).parents[1] / "data" / "parity" / "cmi_rm"
SONGEVAL = [f"model.checkpoint={BUNDLE}/songeval", f"model.muq={BUNDLE}/muq", "model.hidden_state=1"]
ROWS = 2
"""Of each dataset."""


@pytest.fixture
def run(run_here, mini_root, tmp_path):
    """Run a model; return the rows with their scores, and the counts."""

    def run(name, *words):
        folder = tmp_path / name
        run_here(
            "data=mini", f"data.root={mini_root}", f"data.jsonl={mini_root}/all_test.jsonl", f"limit={ROWS}",
            f"cache.dir={tmp_path}/cache", "tracking=none", "metrics.resamples=0", "metrics.report=false", "workers=0",
            "+device=cpu", "max_dur=2", *words, folder=folder,
        )  # fmt: skip
        rows = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
        return rows, json.loads((folder / "metadata.json").read_text())["counts"]

    return run


def scores(rows, name):
    return [row[key] for row in rows for key in (name, f"{name}_b") if key in row]


def test_songeval(run):
    rows, counts = run("musicality", "model=songeval_rm", *SONGEVAL)
    found = scores(rows, "predicted_musicality")
    assert len(found) == counts["clips"] == 6 * ROWS  # of the four datasets two have pairs
    assert all(1 < score < 5 for score in found)
    assert counts["failed"] == 0
    again, later = run("clarity", "model=songeval_rm", *SONGEVAL, "model.dimension=clarity")
    assert later["chunks_encoded"] == 0  # all five ratings were kept
    assert scores(again, "predicted_musicality") != found


def test_muq_mulan(run):
    words = ["model=muq_mulan", f"model.checkpoint={BUNDLE}/muq-mulan", "subset=cmi_pref", "limit=20"]
    rows, counts = run("ignore", *words)
    assert all(-1 < score < 1 for score in scores(rows, "predicted_text-music alignment"))
    assert counts["failed"] == 0
    _, later = run("mean", *words, "model.reference=mean")
    assert later["unique_audio"] > counts["unique_audio"]
    assert later["chunks_encoded"] == later["unique_audio"] - counts["unique_audio"]  # the references only


@pytest.mark.parametrize("name", ["clap", "clap_music"])
def test_clap(run, tmp_path, name):
    rows, counts = run(name, f"model={name}", f"model.checkpoint={save_small_clap(tmp_path / 'small')}")
    assert all(-1 < score < 1 for score in scores(rows, "predicted_text-music alignment"))
    assert counts["failed"] == 0


def test_audiobox(run, tmp_path, monkeypatch):
    pytest.importorskip("audiobox_aesthetics")
    make_small(monkeypatch)
    rows, counts = run("audiobox", "model=audiobox", f"model.checkpoint={save_small_audiobox(tmp_path / 'small')}")
    assert len(set(scores(rows, "predicted_musicality"))) > 4
    assert counts["failed"] == 0
