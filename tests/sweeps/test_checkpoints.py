"""What a recipe goes over: a folder's checkpoints by step, and the revisions that a hub on loopback lists."""

import huggingface_hub.constants
import pytest
from fake_hub import FakeHub, serve
from omegaconf import OmegaConf

from cmi_bench.errors import UserError
from cmi_bench.sweeps.checkpoints import find_checkpoints, hub_revisions, register_sweep_resolvers


@pytest.fixture
def hub(monkeypatch):
    hub = FakeHub(repos={("model", "Some/Model"): {}}, refs=["main", "step_1000", "step_500", "v2"])
    with serve(hub):
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.address)
        yield hub


def test_branches_and_tags_by_step(hub):
    assert hub_revisions("Some/Model") == ["step_500", "step_1000", "main", "v2"]


@pytest.mark.parametrize("repo", ["No/Model", "not a name"])
def test_a_repository_that_cannot_be_listed(hub, repo):
    with pytest.raises(UserError, match=f"revisions of {repo} cannot be listed"):
        hub_revisions(repo)


def test_a_hub_that_cannot_be_reached(hub, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")  # where nobody listens
    with pytest.raises(UserError, match=r"(?s)revisions of Some/Model cannot be listed.*sweep.revisions="):
        hub_revisions("Some/Model")


@pytest.mark.slow
def test_the_recipe_takes_those_named_or_asks_the_hub(hub):
    register_sweep_resolvers()
    recipe = "${revisions_of:${repo},${revisions}}"
    cfg = OmegaConf.create({"repo": "Some/Model", "revisions": ["a", "refs/pr/1"], "values": recipe})
    assert cfg["values"] == "'Some/Model@a','Some/Model@refs/pr/1'"
    assert not hub.log
    cfg.revisions = []
    assert cfg["values"].startswith("'Some/Model@step_500','Some/Model@step_1000'")


def test_checkpoints_are_files_of_weights_and_folders_that_hold_one(tmp_path):
    for name in ("step_10/model.safetensors", "step_9/model.safetensors", "step_11/notes.txt", "last.ckpt", "a.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [path.name for path in find_checkpoints(tmp_path, "*")] == ["step_9", "step_10", "last.ckpt"]
    with pytest.raises(UserError, match=r"sweep.pattern=epoch_\*"):
        find_checkpoints(tmp_path, "epoch_*")
