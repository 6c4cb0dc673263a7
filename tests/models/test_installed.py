"""Models that other installed packages offer: a folder with metadata on the path is an installed package."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException

from cmi_bench.config import checked
from cmi_bench.hydra_errors import explain
from cmi_bench.hydra_setup import register
from cmi_bench.models.registry import InstalledModel, build_model, installed_models

PROJECT = Path(__file__).parents[2]
MODULE = """
class MyRM:
    sr = 24000

    def __init__(self, checkpoint=None, size="small"):
        self.checkpoint, self.size = checkpoint, size

    def score_batch(self, inputs, batch_size, max_dur, **kwargs):
        return [[0.0, 0.0] for _ in inputs]
"""


@pytest.fixture
def package(tmp_path):
    """Install a package with two models, of which one has the name of a shipped one; return where."""
    metadata = tmp_path / "my_pkg-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: my-pkg\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[cmi_bench.models]\nmy_rm = my_pkg:MyRM\nsignal = my_pkg:MyRM\n")
    (tmp_path / "my_pkg.py").write_text(MODULE)
    return tmp_path


@pytest.fixture
def installed(package, monkeypatch):
    monkeypatch.syspath_prepend(package)
    yield
    ConfigStore.instance().repo.get("model", {}).pop("my_rm.yaml", None)
    sys.modules.pop("my_pkg", None)


def composed(*words):
    register(project=PROJECT)
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        return checked(compose("config", list(words)))


def test_it_is_chosen_by_its_name_and_gets_its_options(installed):
    model = composed("model=my_rm", "model.checkpoint=runs/7", "+model.init_kwargs.size=large").model
    assert "my_pkg" not in sys.modules  # nothing of it is imported until it is built
    built = build_model(model, device="cpu", precision="32").implementation
    assert (type(built).__name__, built.checkpoint, built.size) == ("MyRM", "runs/7", "large")
    assert model["name"] == "my_rm"


def test_a_shipped_name_stays_the_shipped_model_and_it_is_said(installed, caplog):
    with caplog.at_level(logging.WARNING):
        assert composed("model=signal").model["_target_"] == "cmi_bench.models.signal.model.SignalBaseline"
    assert "The model signal of the package my-pkg is left out" in caplog.text
    assert installed_models(taken=["signal"]) == [InstalledModel("my_rm", "my_pkg:MyRM", "my-pkg")]


def test_a_misspelt_name_is_answered_with_it(installed):
    with pytest.raises(HydraException) as error:
        composed("model=my_mr")
    assert "Did you mean my_rm" in explain(error.value)


@pytest.mark.slow
def test_the_list_shows_it(package):
    words = ["task=list", "run_folders=[]", f"hydra.run.dir={package}/out"]
    done = subprocess.run(
        [sys.executable, str(PROJECT / "run.py"), *words],
        capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": str(package)}, cwd=package,
    )  # fmt: skip
    assert ["model=my_rm", "Of", "the", "installed", "package", "my-pkg."] in map(str.split, done.stdout.splitlines())
    assert done.stderr.count("left out") == 1
