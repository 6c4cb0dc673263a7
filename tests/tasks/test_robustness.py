"""`task=sanity` for models whose answer is known."""

import csv
import json

import pytest
from command_line import run_command, run_task_here

from cmi_bench.errors import UserError

WORDS = ("task=sanity", "+device=cpu", "tracking=none", "cache=off", "workers=0")

pytestmark = pytest.mark.slow


def sanity(folder, *words):
    run_task_here(*WORDS, *words, folder=folder)


def steps(folder):
    with (folder / "sanity.csv").open() as file:
        return list(csv.DictReader(file))


def trends(folder, aspect):
    kinds = json.loads((folder / "sanity.json").read_text())["kinds"]
    return {one["kind"]: one["rank_correlation"] for one in kinds if one["aspect"] == aspect}


def test_the_signal_baseline_hears_damage_and_reads_the_prompt(tmp_path):
    folder = tmp_path / "run"
    done = run_command(*WORDS, "model=signal", "limit=3", f"hydra.run.dir={folder}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    musicality = trends(folder, "musicality")
    assert all(musicality[kind] < -0.8 for kind in ("silence", "noise", "added noise", "clipping", "lowpass"))
    assert musicality["swapped prompt"] is None  # it does not look at the prompt
    assert trends(folder, "alignment")["swapped prompt"] == pytest.approx(-1.0)
    files = {"sanity.csv", "sanity.json", "sanity.png", "metadata.json", "config.yaml", "audio"}
    assert files <= {path.name for path in folder.iterdir()}
    metadata = json.loads((folder / "metadata.json").read_text())
    assert metadata["status"] == "finished"
    assert metadata["counts"]["failed"] == 0
    assert metadata["config"]["task"] == "sanity"
    assert max(map(len, done.stdout.splitlines()[:-1])) <= 80


def test_a_constant_changes_by_zero(tmp_path, capsys):
    sanity(tmp_path, "model=constant", "limit=2")
    columns = ("n", "mean_change", "sd_change", "share_lower")
    assert {tuple(line[name] for name in columns) for line in steps(tmp_path)} == {("2", "0.0", "0.0", "0.0")}
    assert set(trends(tmp_path, "musicality").values()) == {None}
    assert "swapped prompt" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [(["model=oracle"], "answers from the labels of rows"), (["model=signal", "limit=1"], "no other prompt to swap")],
)
def test_what_cannot_be_asked_is_said(tmp_path, words, message):
    with pytest.raises(UserError, match=message):
        sanity(tmp_path, *words)
