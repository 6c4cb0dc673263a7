"""From rows to a comparison through `run.py`: embed, train, sweep over checkpoints, compare, evaluate."""

import json
import random

import pytest
from command_line import run_command

from cmi_bench.data.datasets import dataset_of_source
from cmi_bench.data.synthetic import build
from cmi_bench.data.synthetic.labels import MiniSplit, Part

ROWS = {"CMI-Pref": 6, "PAM": 10, "MusicEval": 8, "MusicArena": 6}
"""Of the 402 that there are to train on: enough for each kind of label."""


@pytest.fixture
def home(tmp_path, mini_root, monkeypatch):
    """A folder with the mini benchmark and a few of its training rows."""
    whole, left, rows = build.plan_mini(MiniSplit.TRAIN), dict(ROWS), []
    for row in whole.rows:
        name = dataset_of_source(row["source"]).name
        left[name] -= 1
        if left[name] >= 0:
            rows.append(row)
    named = {row[key] for row in rows for key in ("audio-path", "audio2", "ref-audio-path") if row.get(key)}
    few = Part(rows, [clip for clip in whole.clips if clip.path in named])
    monkeypatch.setattr(build, "plan_mini", lambda _split: few)
    build.ensure_mini(tmp_path / "data/mini_train", MiniSplit.TRAIN)
    (tmp_path / "data/mini").symlink_to(mini_root)
    return tmp_path


def run(home, folder, *words):
    """Run `run.py` in a folder; every output is below it."""
    done = run_command(*words, f"hydra.{folder}", cwd=home)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def test_embed_train_sweep_compare_evaluate(home):
    data = ["data=mini", f"data_root={home}/data", f"cache.dir={home}/cache", "tracking=none", "+device=cpu"]
    backbone = ["model=audio_statistics", *data]
    run(home, "run.dir=embed", "task=embed", *backbone)

    settings = [
        "metrics.report=false",
        "train.max_steps=4",
        "train.validate_every=2",
        "train.keep_every=2",
        "train.batch_size=8",
    ]
    words = [*backbone, "recipe=small", "head.hidden=[4]", "splits.validation=0.3", *settings]
    said = run(home, "run.dir=train", "task=train", *words)
    checkpoints = home / "train/checkpoints"
    assert {path.name for path in checkpoints.iterdir()} == {"step_000002", "step_000004"}
    assert "encoding audio" not in said  # what was embedded is not embedded again

    few = [*data, "limit=2", "metrics.report=false"]
    run(home, "sweep.dir=sweep", "-m", "+sweep=checkpoints", f"sweep.checkpoint_dir={checkpoints}", *few)
    jobs = [home / "sweep" / number for number in "01"]
    scores = [[json.loads(line) for line in (job / "results.jsonl").read_text().splitlines()] for job in jobs]
    assert [len(rows) for rows in scores] == [8, 8]
    assert scores[0] != scores[1]

    compared = run(home, "run.dir=compare", "task=compare", f"runs=[{home}/sweep]")
    assert "step_000002" in compared
    assert "step_000004" in compared
    run(home, "run.dir=evaluate", "task=evaluate", f"results={jobs[0]}", "metrics.report=false")
    summaries = [(folder / "metrics_summary.csv").read_text() for folder in (jobs[0], home / "evaluate")]
    assert summaries[0] == summaries[1]


def shuffle_labels(rows, file):
    """Write rows with the labels of each source in another order."""
    rng = random.Random(0)
    for field in ("musicality", "text-music alignment", "preference", "preference-musicality", "preference-alignment"):
        for source in sorted({row["source"] for row in rows}):
            labelled = [row for row in rows if row["source"] == source and field in row]
            values = [row[field] for row in labelled]
            rng.shuffle(values)
            for row, value in zip(labelled, values, strict=True):
                row[field] = value
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.slow
def test_shuffled_labels_teach_nothing_about_musicality(tmp_path, mini_root, mini_train_root):
    """Alignment begins at the cosine of clip and prompt, which knows no labels, and may stay above chance."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/mini").symlink_to(mini_root)
    (tmp_path / "data/mini_train").symlink_to(mini_train_root)
    lines = (mini_train_root / "all_train.jsonl").read_text(encoding="utf-8").splitlines()
    shuffled = tmp_path / "shuffled.jsonl"
    shuffle_labels([json.loads(line) for line in lines], shuffled)
    data = ["data=mini", f"data_root={tmp_path}/data", f"cache.dir={tmp_path}/cache", "tracking=none", "+device=cpu"]
    words = [*data, f"data.train_jsonl={shuffled}", "train.max_steps=200", "train.patience=null", "head.dropout=0.7"]
    run(tmp_path, "run.dir=train", "task=train", "model=audio_statistics", "recipe=small", *words)
    run(tmp_path, "run.dir=test", f"model.checkpoint={tmp_path}/train/checkpoints/step_000200", *data)
    figures = {
        (line["dataset"], line["task"]): line.get("SRCC", line.get("ACC"))
        for line in json.loads((tmp_path / "test/metrics.json").read_text())["summary"]
    }
    # More than two standard errors above chance, at 30, 25, 29 and 36 rows.
    assert figures["PAM", "musicality"] < 0.5
    assert figures["MusicEval", "musicality"] < 0.5
    assert figures["MusicArena", "preference"] < 0.75
    assert figures["CMI-Pref", "musicality"] < 0.75
