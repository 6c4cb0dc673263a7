"""Where an installation has its configuration, its project and its cache."""

from pathlib import Path

import pytest
from command_line import PROJECT, composed
from installed import pretend_installed

from cmi_bench.errors import UserError
from cmi_bench.task_config import see_help
from cmi_bench.utils.installation import (
    cache_folder,
    command_line,
    conf_folder,
    install_command,
    is_checkout,
    project_folder,
    tasks,
)


def test_in_a_checkout_all_is_the_projects(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert is_checkout()
    assert (conf_folder(), project_folder(), cache_folder()) == (PROJECT / "conf", PROJECT, PROJECT / ".cache")


def test_installed_the_configuration_is_the_packages_and_the_rest_the_users(monkeypatch, tmp_path):
    package = pretend_installed(monkeypatch, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert not is_checkout()
    assert (conf_folder(), project_folder()) == (package / "conf", tmp_path)
    assert cache_folder() == tmp_path / "cache" / "cmi-bench"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "cmi-bench"


def test_what_is_composed_has_these_folders(monkeypatch, tmp_path):
    pretend_installed(monkeypatch, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    config = composed("data=mini")
    assert config.data.root == str(tmp_path / "data" / "mini")
    assert config.tracking.uri == f"sqlite:///{tmp_path}/mlflow.db"
    assert config.cache.dir == str(tmp_path / "cache" / "cmi-bench")
    assert composed("cache=off").cache.dir is None


def test_without_its_configuration_the_package_says_so(monkeypatch, tmp_path):
    package = pretend_installed(monkeypatch, tmp_path)
    (package / "conf" / "config.yaml").unlink()
    with pytest.raises(UserError, match="configuration is not in"):
        conf_folder()


def test_messages_name_the_command_that_there_is(monkeypatch, tmp_path):
    lines = [("task=prepare", "model=clap"), ("task=new_model", "name=mine"), ("model=signal",), ("--help",)]
    assert [command_line(*words) for words in lines] == [
        "python run.py task=prepare model=clap",
        "python run.py task=new_model name=mine",
        "python run.py model=signal",
        "python run.py --help",
    ]
    assert [install_command(), install_command("gemini")] == [
        "make env",
        "pip install -c constraints.txt -e '.[gemini]'",
    ]
    pretend_installed(monkeypatch, tmp_path)
    assert [install_command(), install_command("gemini")] == [
        "pip install 'cmi-bench'",
        "pip install 'cmi-bench[gemini]'",
    ]
    assert [command_line(*words) for words in lines] == [
        "cmi-bench prepare model=clap",
        "cmi-bench new-model name=mine",
        "cmi-bench run model=signal",
        "cmi-bench run --help",
    ]
    assert see_help() == "`cmi-bench run --help` shows groups, keys and examples."


def test_every_task_says_what_it_is():
    described = tasks()
    assert list(described) == sorted(path.stem for path in (PROJECT / "conf" / "task").glob("*.yaml"))
    assert all(sentence.endswith(".") for sentence in described.values())
