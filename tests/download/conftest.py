import os

import pytest
from command_line import configured
from fake_hub import serve
from tiny_dataset import upstream

from cmi_bench.download import http
from cmi_bench.tasks import prepare as prepare_task


@pytest.fixture
def hub():
    """Everything that is upstream, served."""
    with serve(upstream()) as hub:
        yield hub


@pytest.fixture
def root(tmp_path):
    return tmp_path / "data root"


@pytest.fixture
def prepare(hub, root, monkeypatch, tmp_path):
    """Run task=prepare in this process, without a model; extra words as on the command line."""
    monkeypatch.setattr(http, "FIRST_WAIT", 0.01)
    for name in ("HF_TOKEN", "HF_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no token"))
    monkeypatch.setattr("huggingface_hub.constants.HF_STORED_TOKENS_PATH", str(tmp_path / "no tokens"))

    def run(*more):
        quoted = [word.replace(" ", "\\ ") for word in hub.prepare_words(root)]
        prepare_task.run_prepare(configured(*quoted, "model=signal", *more), tmp_path / "run")

    return run


@pytest.fixture
def environment(hub, tmp_path):
    """The environment of a subprocess that knows no login and has a cache of its own."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    return clean | {"HF_HOME": str(tmp_path / "hf"), "HF_ENDPOINT": hub.address}
