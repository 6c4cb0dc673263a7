"""`task=list` as people run it."""

import json

from command_line import run_command
from own_tables import write_table
from registries import restored_registries


def test_it_lists_what_there_is(tmp_path):
    run = tmp_path / "runs/a"
    run.mkdir(parents=True)
    (run / "metadata.json").write_text(
        json.dumps({"started": "2026-01-02T03:04:05", "status": "finished", "model": {"name": "my_model"}})
    )
    done = run_command("task=list", f"run_folders=[{tmp_path}/runs]", f"hydra.run.dir={tmp_path}/out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    options = {line[0]: " ".join(line[1:]) for line in lines if line and "=" in line[0]}
    for name in ("task=benchmark", "model=signal", "subset=pam", "data=mini", "metrics=full", "device=cpu"):
        assert len(options[name]) > 10, name
    assert "device=cuda:0" in options
    assert not [name for name in options if name.startswith(("hydra", "trainer"))]
    assert ["MusicEval", "musiceval", "musicality", "mean", "opinion", "score"] in [line[:6] for line in lines]
    assert "2026-01-02 03:04   finished   my_model" in done.stdout
    assert "runs/a" in done.stdout
    assert not (tmp_path / "out/metadata.json").exists()


def test_without_runs_it_says_where_it_looked_and_own_data_are_listed(tmp_path):
    own = ("data=custom", f"data.csv={write_table(tmp_path / 'mine.csv', [{'song': 'a.wav', 'mos': 4}])}")
    with restored_registries():
        done = run_command("task=list", *own, f"run_folders=[{tmp_path}/none]", f"hydra.run.dir={tmp_path}/out")
    assert done.returncode == 0, done.stderr
    assert ["mine", "mine", "musicality"] in [line.split()[:3] for line in done.stdout.splitlines()]
    assert f"No past runs under {tmp_path}/none." in " ".join(done.stdout.split())
