"""Which model loads a checkpoint: told by its folder, and chosen where the command line chooses none."""

from pathlib import Path

import pytest

from cmi_bench.errors import UserError
from cmi_bench.hydra_compose import compose_config
from cmi_bench.hydra_setup import model_word
from cmi_bench.models.checkpoint_kinds import CMI_RM, TRAINED, check_fits, kind_of_checkpoint

CONFIGS = {
    "trained": "backbone: {name: signal}\nheads: [{}]\n",
    "cmi_rm": "model: {model_name: muq-mulan, joint_tf_depth: 1}\n",
    "other": "model: {layers: 2}\n",
}


@pytest.fixture
def checkpoints(tmp_path) -> Path:
    """A folder with checkpoints of each kind, in a folder of their own."""
    for kind, config in CONFIGS.items():
        for step in (1, 2):
            folder = tmp_path / kind / f"step_{step}"
            folder.mkdir(parents=True)
            (folder / "config.yaml").write_text(config)
            (folder / "model.safetensors").write_bytes(b"")
    return tmp_path


def test_a_folder_tells(checkpoints):
    assert kind_of_checkpoint(str(checkpoints / "trained/step_1")) == TRAINED
    assert kind_of_checkpoint(str(checkpoints / "trained/step_1/model.safetensors")) == TRAINED
    assert kind_of_checkpoint(str(checkpoints / "cmi_rm/step_1")) == CMI_RM
    assert kind_of_checkpoint(str(checkpoints / "other/step_1")) is None
    assert kind_of_checkpoint(str(checkpoints)) is None
    assert kind_of_checkpoint("HaiwenXia/CMI-RM") is None


def test_words_that_name_trained_heads_choose_the_model(checkpoints):
    trained, cmi_rm = checkpoints / "trained", checkpoints / "cmi_rm"
    chosen = ["model=trained"]
    assert model_word([f"model.checkpoint={trained}/step_1", "device=cpu"]) == chosen
    assert model_word(["-m", f"model.checkpoint={trained}/step_1,{trained}/step_2"]) == chosen
    assert model_word([f"++model.checkpoint='{trained}/step_1'"]) == chosen
    assert model_word(["+sweep=checkpoints", f"sweep.checkpoint_dir={trained}"]) == chosen
    assert model_word([], trained / "step_1") == chosen
    assert model_word([f"model.checkpoint={cmi_rm}/step_1"]) == []
    assert model_word([f"sweep.checkpoint_dir={cmi_rm}"]) == []
    assert model_word(["model=muq_mulan", f"model.checkpoint={trained}/step_1"]) == []
    assert model_word([f"sweep.checkpoint_dir={trained}", "sweep.pattern=none_*"]) == []
    assert model_word([f"model.checkpoint={trained}/step_1,{cmi_rm}/step_1"]) == []
    assert model_word(["model.checkpoint=(", "data=mini", "--help", "sweep.checkpoint_dir=/nowhere"]) == []


def test_a_configuration_is_composed_for_the_checkpoint(checkpoints):
    path = str(checkpoints / "trained/step_1")
    assert compose_config(None, {"checkpoint": path}).model["name"] == "trained"
    assert compose_config(None, overrides=[f"model.checkpoint={path}"]).model["name"] == "trained"


def test_a_model_that_does_not_load_it_says_which_does(checkpoints):
    targets = {"trained": TRAINED.target, "cmi_rm": CMI_RM.target}
    for kind, other in (("trained", "cmi_rm"), ("cmi_rm", "trained")):
        path = str(checkpoints / kind / "step_1")
        check_fits({"_target_": targets[kind], "checkpoint": path})
        with pytest.raises(UserError, match="is a checkpoint of") as error:
            check_fits({"_target_": targets[other], "checkpoint": path})
        assert f"model={kind}" in error.value.hint
    check_fits({"_target_": CMI_RM.target, "checkpoint": str(checkpoints / "other/step_1")})
    check_fits({"class_path": "mine:Model", "checkpoint": str(checkpoints / "trained/step_1")})
