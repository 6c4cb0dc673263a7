"""Mistakes at the keyboard: one message with the nearest right name, no traceback, exit code 1."""

import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from cmi_bench.config import register

PROJECT = Path(__file__).parents[1]


def run(*words, cwd=PROJECT):
    return subprocess.run(
        [sys.executable, str(PROJECT / "run.py"), *words], cwd=cwd, capture_output=True, text=True, check=False
    )


MISTAKES = [
    (["model=cmi_rn"], "There is no model=cmi_rn.", "Did you mean cmi_rm"),
    (["subset=pan"], "There is no subset=pan.", "Did you mean pam"),
    (["+device=cudo"], "There is no device=cudo.", "Did you mean cuda"),
    (["device=cpu"], "`device` is chosen with a plus.", "+device=cpu"),
    (["batchsize=3"], "There is no setting 'batchsize'.", "Did you mean batch_size"),
    (["model.checkpont=x"], "There is no setting 'model.checkpont'.", "Did you mean checkpoint"),
    (["max_dur=long"], "'long' of type 'str' could not be converted to Float", "--help"),
    (["precision=16"], "expected one of [32, bf16]", "--help"),
    (["max_dur=-1"], "max_dur=-1.0 is not positive", "above 0"),
    (["task=benchmrk"], "There is no task 'benchmrk'.", "Did you mean benchmark"),
    (["task=evaluate"], "task=evaluate needs a results file", "results="),
    (["task=evaluate", "results=nowhere.jsonl"], "nowhere.jsonl does not exist", ""),
    (["model=custom"], "The value of model.class_path is missing.", "model.class_path="),
    (["data.jsonl=nowhere.jsonl"], "nowhere.jsonl does not exist", "python run.py task=prepare"),
    (["task=prepare", "jobs=0"], "jobs=0 is not positive", "above 0"),
    (["task=doctor", "doctor.format=yaml"], "expected one of [table, json]", "--help"),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "says", "hint"), MISTAKES, ids=lambda value: value[0] if isinstance(value, list) else ""
)
def test_a_mistake_gets_one_message(words, says, hint, tmp_path):
    done = run(*words, f"hydra.run.dir={tmp_path}")
    assert done.returncode == 1
    assert says in done.stderr
    assert hint in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.slow
def test_help_shows_groups_and_examples_that_compose():
    done = run("--help")
    assert done.returncode == 0
    models = sorted(path.stem for path in (PROJECT / "conf" / "model").glob("*.yaml"))
    assert f"model: {', '.join(models)}" in done.stdout
    lines = [line.split("  ")[0] for line in map(str.strip, done.stdout.splitlines())]
    examples = [line.split()[2:] for line in lines if line.startswith("python run.py")]
    assert len(examples) >= 6
    for words in examples:
        if words[0] == "-m":  # of a sweep's values, the first
            words = [word.split(",")[0] for word in words[1:]]
        composed(*words)


def composed(*words):
    register(project=PROJECT)
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        return compose("config", list(words))


@pytest.mark.parametrize(("name", "devices"), [("cpu", 1), ("cuda", -1), ("cuda:1", [1]), ("cpu_ddp", 2)])
def test_devices_compose_exactly_as_documented(name, devices):
    assert composed(f"+device={name}", "model=signal").trainer.devices == devices


@pytest.mark.parametrize("name", ["32", "bf16"])
def test_a_precision_is_chosen_by_its_name(name):
    assert composed(f"precision={name}").precision.value == name


@pytest.mark.parametrize(
    "path",
    sorted(path for path in (PROJECT / "conf").glob("*/*.yaml") if path.parent.name != "launch"),
    ids=lambda path: f"{path.parent.name}={path.stem}",
)
def test_every_shipped_choice_composes(path):
    group = path.parent.name
    composed(f"{'+' if group in ('device', 'sweep') else ''}{group}={path.stem}")
