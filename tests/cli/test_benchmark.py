"""The commands of the benchmark: the words of `run.py`."""

import sys

import pytest
from command_line import kept_logging, run_command
from installed import pretend_installed
from typer.testing import CliRunner

from cmi_bench.cli.app import app
from cmi_bench.utils.installation import command_of, tasks


@pytest.fixture
def typed(monkeypatch, tmp_path):
    """Type a command; return its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("MPLBACKEND", "agg")

    def run(*words):
        with kept_logging():
            return CliRunner().invoke(app, list(words))

    return run


def test_there_is_a_command_for_each_task(typed):
    shown = typed("--help").stdout
    for task in tasks():
        assert f"│ {command_of(task)} " in shown


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["modle=signal"], 1),
        (["--config-dir", "nowhere", "model=signal"], 1),
        (["data=mini", "--cfg", "job", "model=signal", "--package=data"], 0),  # Hydra's own parser refuses this order
        (["--nonsense"], 2),
    ],
)
def test_run_says_what_run_py_says(typed, monkeypatch, words, code):
    monkeypatch.setattr(sys, "argv", ["run.py"])
    ours, theirs = typed("run", *words), run_command(*words)
    assert ours.exit_code == code
    assert (ours.exit_code, ours.stdout, ours.stderr) == theirs


def test_a_task_has_its_own_keys_and_refuses_to_be_another(typed):
    shown = typed("compare", "task=compare", "runs=[a,b]", "--cfg", "job", "alpha=0.1").stdout
    assert "task: compare" in shown
    assert "runs:\n- a\n- b" in shown
    assert "alpha: 0.1" in shown
    refused = typed("compare", "task=list")
    assert refused.exit_code == 1
    assert "cmi-bench compare is task=compare; task=list is another one." in refused.stderr


def test_messages_of_an_installation_name_its_commands(typed, monkeypatch, tmp_path):
    pretend_installed(monkeypatch, tmp_path)
    done = typed("run", "data.jsonl=nothing.jsonl", "model=signal")
    assert done.exit_code == 1
    assert "Get the data with cmi-bench prepare" in done.stderr


def test_help_is_about_the_task_in_words_that_can_be_typed(typed, monkeypatch, tmp_path):
    pretend_installed(monkeypatch, tmp_path)
    opening, _, *examples = typed("prepare", "--help").stdout.split("\n\nGROUPS")[0].splitlines()
    assert opening.startswith("cmi-bench prepare: Bring what a run")
    assert examples == [
        "EXAMPLES",
        "  cmi-bench prepare model=cmi_rm  gets the benchmark's data, and CMI-RM's checkpoint",
    ]
    shown = typed("run", "--help").stdout
    assert "\n  cmi-bench run -m model=cmi_rm max_dur=30,60,120 " in shown
    assert "\n  cmi-bench compare runs=[" in shown
    assert "run.py" not in shown
