import functools
import json

import pytest
from scored_rows import VALID_PAIR, arena
from typer.testing import CliRunner

from cmi_bench.cli import view as view_module
from cmi_bench.cli.app import app
from cmi_bench.hydra_compose import compose_config


@functools.cache
def composed(settings):
    """The configuration, which takes a third of a second, once for each setting."""
    return compose_config(overrides=settings)


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Two runs over three pairs, in the current folder; the audio of one clip."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(view_module, "compose_config", lambda overrides: composed(tuple(overrides)))
    data = tmp_path / "data"
    (data / "MusicArena_data/audio_files/01-2025JULAUG").mkdir(parents=True)
    (data / "MusicArena_data/audio_files/01-2025JULAUG/a.mp3").touch()
    for name, score in (("alder", 2.0), ("birch", 0.0)):
        rows = [arena("A", score, 1.0, prompt=f"p{at}", **VALID_PAIR) for at in range(3)]
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        (folder / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        metadata = {"model": {"name": name}, "config": {"data": {"root": str(data), "note": "three pairs only"}}}
        (folder / "metadata.json").write_text(json.dumps(metadata))
    return tmp_path / "runs"


def view(*words):
    return CliRunner().invoke(app, ["view", *map(str, words)])


def test_the_page_of_one_run_lies_beside_it_and_finds_its_audio(runs):
    done = view(runs / "alder")
    assert (done.exit_code, done.stderr) == (0, "")
    page = (runs / "alder/view.html").read_text()
    assert "../../data/MusicArena_data/audio_files/01-2025JULAUG/a.mp3" in page
    assert "three pairs only" in page
    assert done.stdout.startswith("3 rows of 1 run, 0.")
    assert "1 audio file of 2 cannot be played" in done.stdout
    assert done.stdout.endswith(f"Page: {runs / 'alder/view.html'}\n")


def test_the_page_of_several_runs_lies_here_and_names_them(runs):
    assert view("runs/alder", "runs/birch").exit_code == 0
    page = (runs.parent / "view.html").read_text()
    assert "<title>alder, birch" in page
    assert '"data/MusicArena_data/audio_files' in page


def test_a_pattern_names_runs_and_settings_are_those_of_the_benchmark(runs):
    done = view("runs/*", "--out", "new/page.html", "--set", "metrics.protocol=paper", "--audio", "none")
    assert done.exit_code == 0
    page = (runs.parent / "new/page.html").read_text()
    assert "the protocol\n  &ldquo;paper&rdquo;" in page
    assert "3 rows of 2 runs" in done.stdout


@pytest.mark.parametrize("starts", [True, False])
def test_a_browser_is_opened_when_asked(runs, monkeypatch, starts):
    opened = []
    monkeypatch.setattr(view_module.webbrowser, "open", lambda address: opened.append(address) or starts)
    done = view(runs / "alder", "--open")
    assert done.exit_code == 0
    assert opened == [(runs / "alder/view.html").as_uri()]
    assert ("No browser could be started" in done.stderr) is not starts


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["gone"], 1, "There is no run 'gone'"),
        (["runs"], 1, "has no results.jsonl"),
        (["runs/alder", "--out", "runs/alder/results.jsonl"], 1, "no page of `cmi-bench view`"),
        (["runs/alder", "--out", "runs/alder/results.jsonl/view.html"], 1, "Cannot write to runs/alder/results.jsonl"),
        (["runs/alder", "--set", "metrics.protocl=paper"], 1, "protocol"),
        (["runs/alder", "--set", "metrics.split=train"], 1, "No row of split 'train'"),
        (["runs/alder", "--set", "limit=3"], 1, "--set limit=3 has no effect on a page of rows"),
        (["runs/alder", "--audio", "stream"], 2, "stream"),
        (["runs/alder", "--rows", "0"], 2, "--rows"),
        ([], 2, "RUN"),
    ],
)
def test_a_mistake_gets_one_message(runs, words, code, says):
    done = view(*words)
    assert done.exit_code == code
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(runs.rglob("view.html"))


def test_a_root_that_is_set_comes_before_the_runs_own(runs):
    clip = runs.parent / "moved/MusicArena_data/audio_files/01-2025JULAUG/a.mp3"
    clip.parent.mkdir(parents=True)
    clip.touch()
    assert view(runs / "alder", "--set", f"data.root={runs.parent / 'moved'}").exit_code == 0
    assert "../../moved/MusicArena_data" in (runs / "alder/view.html").read_text()


def test_ctrl_c_says_what_is_left(runs, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(view_module, "load_runs", interrupt)
    done = view(runs / "alder")
    assert (done.exit_code, done.stderr) == (130, "Stopped. No page was written.\n")
