"""`task=new_model`, the whole way: what it writes is found, conforms and runs."""

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from command_line import PROJECT, run_command

import cmi_bench.models
from cmi_bench.errors import UserError
from cmi_bench.tasks.new_model import write_new_model


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Write my_model into a folder whose adapters are found like the project's own."""
    files = write_new_model("my_model", tmp_path, known=["signal"])
    monkeypatch.setattr(cmi_bench.models, "__path__", [*cmi_bench.models.__path__, str(files.adapter.parent)])
    yield files
    sys.modules.pop("cmi_bench.models.my_model", None)


def test_it_is_small_and_clean(written, tmp_path):
    assert len(written.adapter.read_text().splitlines()) <= 40
    assert len(written.config.read_text().splitlines()) <= 10
    assert yaml.safe_load(written.config.read_text())["_target_"] == "cmi_bench.models.my_model.MyModel"
    shutil.copy(PROJECT / "pyproject.toml", tmp_path)
    ruff = shutil.which("ruff", path=Path(sys.executable).parent)
    own = ["--config", f"src = ['{PROJECT}', '.']"]
    for words in (["check", "."], ["format", "--check", "."]):
        done = subprocess.run([ruff, *words, *own], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


def test_its_test_passes(written, tmp_path):
    spec = importlib.util.spec_from_file_location("generated_test", written.test)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.test_it_conforms(tmp_path)


def test_it_runs_the_benchmark(written, run_here, mini_root, tmp_path):
    run_here(
        f"hydra.searchpath=[file://{written.config.parents[1]}]", "model=my_model", "data=mini", "limit=2",
        f"data.root={mini_root}", f"data.jsonl={mini_root}/all_test.jsonl", "tracking=none", "cache=off",
        "metrics.resamples=0", "metrics.report=false", "workers=0", "+device=cpu", folder=tmp_path / "run",
    )  # fmt: skip
    rows = [json.loads(line) for line in (tmp_path / "run" / "results.jsonl").read_text().splitlines()]
    assert len(rows) == 8
    assert all(0 < row["predicted_musicality"] < 1 for row in rows)


@pytest.mark.parametrize("name", ["My-Model", "2nd", "class", "", "a/b", "_x", "signal"])
def test_a_name_that_cannot_be_used_writes_nothing(tmp_path, name):
    with pytest.raises(UserError, match=r"cannot be a model's name|There is a model 'signal' already"):
        write_new_model(name, tmp_path, known=["signal"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("there", ["cmi_bench/models/mine.py", "cmi_bench/models/mine/x", "tests/models/test_mine.py"])
def test_nothing_is_overwritten(tmp_path, there):
    (tmp_path / there).parent.mkdir(parents=True)
    (tmp_path / there).write_text("mine")
    with pytest.raises(UserError, match="there already"):
        write_new_model("mine", tmp_path, known=[])
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / there]


def test_the_command_says_what_comes_next(tmp_path, monkeypatch):
    monkeypatch.setattr("cmi_bench.tasks.new_model.project_folder", lambda: tmp_path)
    words = ["task=new_model", "name=my_model", f"hydra.run.dir={tmp_path}/run"]
    done = run_command(*words)
    assert done.returncode == 0, done.stderr
    assert "python run.py task=conformance model=my_model\n  python run.py model=my_model data=mini\n" in done.stdout
    assert (tmp_path / "cmi_bench/models/my_model.py").is_file()
    again = run_command(*words)
    assert again.returncode == 1
    assert "are there already." in again.stderr
    taken = run_command("task=new_model", "name=signal", f"hydra.run.dir={tmp_path}/run")
    assert taken.returncode == 1
    assert "There is a model 'signal' already." in taken.stderr


def test_for_an_installation_it_is_a_module_by_itself(tmp_path):
    files = write_new_model("my_model", tmp_path, known=[], package="")
    names = [str(path.relative_to(tmp_path)) for path in files]
    assert names == ["my_model.py", "conf/model/my_model.yaml", "tests/test_my_model.py"]
    assert yaml.safe_load(files.config.read_text())["_target_"] == "my_model.MyModel"
    assert "\nfrom my_model import MyModel\n" in files.test.read_text()
    with pytest.raises(UserError, match="There is a Python module 'json' already"):
        write_new_model("json", tmp_path, known=[], package="")
    assert not (tmp_path / "json.py").exists()
