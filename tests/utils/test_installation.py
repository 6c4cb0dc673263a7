"""Where an installation has its configuration, its project and its cache."""

from pathlib import Path

import pytest
from command_line import PROJECT, composed
from installed import pretend_installed

from cmi_bench.errors import UserError
from cmi_bench.utils.installation import cache_folder, conf_folder, is_checkout, project_folder


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
