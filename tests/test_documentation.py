"""Commands that the documents show are accepted: Hydra composes them, typer parses them, make has the target."""

import asyncio
import doctest
import re
import shlex
import shutil
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import typer.main
from command_line import PROJECT, composed, configured
from reward_server import serving

from cmi_bench import SongScorer
from cmi_bench.cli.app import app
from cmi_bench.models.signal.model import SignalBaseline
from cmi_bench.sweeps.sweep import job_overrides
from cmi_bench.utils.installation import command_of, tasks

SR = 16000
PAGES = [PROJECT / "README.md", PROJECT / "data/README.md", *sorted((PROJECT / "docs").rglob("*.md"))]
COMMAND = re.compile(r"^(?:\$ )?(?:PYTHONPATH=\S+ )?(?P<program>python run\.py|cmi-bench|make|torchrun)\b")
HYDRA_FLAGS = re.compile(r"(?:^| )(?:-m|--help|--cfg \S+|--config-dir \S+)(?= |$)")


def commands():
    """Return page, line number and words of each command in a block of code, or alone in a span of code."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        blocks = re.finditer(r"^```\w*\n(.*?)^```", text, re.M | re.S)
        spans = re.finditer(r"(?<!`)`((?:PYTHONPATH=\S+ )?(?:python run\.py|cmi-bench|make) [^`]+)`(?!`)", text)
        for found in (*blocks, *spans):
            line = text.count("\n", 0, found.start(1)) + 1
            for words in (" ".join(one.split()) for one in found[1].replace("\\\n", " ").splitlines()):
                if COMMAND.match(words) and "..." not in words:
                    yield pytest.param(words, id=f"{page.relative_to(PROJECT)}:{line}: {words[:60]}")


def arguments(command):
    return shlex.split(HYDRA_FLAGS.sub("", COMMAND.sub("", command)), comments=True)


def of(program):
    return [one for one in commands() if COMMAND.match(one.values[0])["program"] == program]


OF_THE_READER = {
    **dict.fromkeys(("model=my_model", "model=NAME"), "model=signal"),
    "+experiment=weekly": "+experiment=smoke",
    "data=mine": "data=mini",
}
"""Choices of configurations that a reader of the pages writes, and shipped ones of the kind."""


@pytest.mark.parametrize("command", of("python run.py"))
def test_hydra_composes_every_benchmark_command(command):
    words = arguments(command)
    files = re.compile(r"=glob\((.*)\)$")  # of which a sweep makes the files that match
    jobs = job_overrides([files.sub(r"='\1'", OF_THE_READER.get(word, word)) for word in words])
    for overrides in (jobs[0], jobs[-1])[: len(jobs)]:
        # The launchers' device is known in a job only.
        (composed if "+launch=joblib" in words else configured)(*overrides)


def test_hydra_composes_what_torchrun_starts():
    for command in of("torchrun"):
        configured(*re.split(r"run\.py |cmi_bench run ", command.values[0], maxsplit=1)[1].split())


@pytest.mark.parametrize("command", of("cmi-bench"))
def test_every_command_is_one(command):
    name, *words = arguments(re.sub(r" > \S+", "", command))
    if task := {command_of(task): task for task in tasks()}.get(name):
        words = [OF_THE_READER.get(word, word) for word in words]
        (composed if "+launch=joblib" in words else configured)(*job_overrides([f"task={task}", *words])[0])
        return
    main = typer.main.get_command(app)
    if name.startswith("--"):  # an option of cmi-bench itself
        assert name in {option for parameter in main.params for option in parameter.opts}
        return
    subcommand = main.commands[name]
    assert subcommand.make_context(name, words).params


@pytest.mark.parametrize("command", of("make"))
def test_make_has_every_target(command):
    targets = re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.M)
    assert {word for word in arguments(command) if "=" not in word} <= set(targets)


def test_all_kinds_of_commands_are_found():
    assert min(len(of(program)) for program in ("python run.py", "cmi-bench", "make")) >= 5


@pytest.fixture
def away(tmp_path, monkeypatch):
    """A folder of its own for what examples write: outputs, data, caches, the MLflow store."""
    for module in ("utils.installation", "hydra_setup", "api.run"):
        monkeypatch.setattr(f"cmi_bench.{module}.project_folder", lambda: tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_examples_of_the_python_interface(away, mini_root):
    (away / "data").mkdir()
    shutil.copytree(mini_root, away / "data" / "mini")
    page = PROJECT / "docs" / "api.md"
    result = doctest.testfile(str(page), module_relative=False, optionflags=doctest.ELLIPSIS)
    assert result.attempted > 10
    assert not result.failed
    assert doctest.testmod(import_module("cmi_bench.api.run"))[0] == 0
    (training,) = re.findall(r"^```python\n(import cmi_bench\n.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)
    names = {"__name__": "training"}
    exec(compile(training, "docs/api.md", "exec"), names)
    assert list(names["judge"].history) == [2, 4]
    assert all(-1 <= value <= 1 for value in names["judge"].history.values())
    assert sorted(one.name[20:] for one in (away / "outputs" / "Judge").iterdir()) == ["step_2", "step_4"]


@pytest.mark.slow
def test_examples_of_the_reward_server(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    time = np.arange(SR) / SR
    for take, hertz in enumerate((2000, 200, 5000), start=1):
        soundfile.write(f"take_{take}.flac", 0.3 * np.sin(2 * np.pi * hertz * time), SR)
    song = Path("take_1.flac").read_bytes()
    generator = SimpleNamespace(render=lambda text: song, render_all=lambda completions, **_: [song, None])
    monkeypatch.setitem(sys.modules, "my_generator", generator)
    page = (PROJECT / "docs" / "serving.md").read_text(encoding="utf-8")
    with serving({"signal": SignalBaseline()}, audio_root=tmp_path) as running:
        page = page.replace("http://127.0.0.1:8000", running.address)
        parser, runner = doctest.DocTestParser(), doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
        assert not runner.run(parser.get_doctest(page, {}, "serving.md", None, 0)).failed
        ran = {}
        for title, section in re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", page, re.M | re.S):
            for block in re.findall(r"^```python\n(.*?)^```", section, re.M | re.S):
                ran.setdefault(title, []).append({})
                exec(compile(block, "docs/serving.md", "exec"), ran[title][-1])
        openrlhf, get_reward = ran["OpenRLHF"]
        (unirl,), (trl,), (in_process,) = ran["UniRL"], ran["TRL"], ran["In the training process"]
        told = openrlhf["reward_func"](["a text"], ["calm piano"], ["..."])
        asked = {"prompts": ["calm piano", "loud"], "completions": ["a", "b"], "completion_ids": [[1], [2]]}
        rewarded, missing = asyncio.run(trl["reward"](**asked, lyrics=["...", ""]))
    score = SongScorer(SignalBaseline()).score("take_1.flac", text="calm piano", lyrics="...")
    mean = pytest.approx(0.7 * score.musicality + 0.3 * score.alignment, abs=1e-6)
    assert told["rewards"].tolist() == pytest.approx([score.musicality], abs=1e-6)
    assert get_reward["answer"]["rewards"] == [mean]
    assert unirl["answer"]["results"][0]["alignment"] == {"alignment": pytest.approx(score.alignment, abs=1e-6)}
    assert (rewarded, missing) == (mean, None)
    assert in_process["advantages"].shape == (2, 2)
