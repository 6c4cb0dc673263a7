"""Checks of a model's checkpoint: whole, damaged, not fetched, collapsed."""

import shutil

import numpy as np
import pytest
import soundfile
from command_line import PROJECT
from findings import REMEDIES, by_subject, config

from cmi_bench.doctor.data import check_checkpoint
from cmi_bench.doctor.finding import Severity
from cmi_bench.types import Clip

PARITY = PROJECT / "tests/data/parity/cmi_rm"


def test_a_checkpoint_that_is_whole():
    found = by_subject(check_checkpoint(config(f"model.checkpoint={PARITY}/sa_mean"), REMEDIES))
    assert {one.status for one in found.values()} == {Severity.OK}
    assert "tensors" in found["weights"].found
    assert "CmiRM, 24000 Hz, sha256 " in found["building it"].found


@pytest.fixture
def clips(tmp_path):
    found = []
    for number in range(4):
        file = tmp_path / f"{number}.wav"
        soundfile.write(file, 0.05 * np.random.default_rng(number).normal(size=24_000), 24_000)
        found.append(Clip(f"{number}:a", file, ("slow drone", "house groove", "piano", "music")[number]))
    return found


def test_a_model_that_tells_clips_apart(clips):
    found = by_subject(check_checkpoint(config(f"model.checkpoint={PARITY}/sa_mean"), REMEDIES, clips))
    assert found["telling songs apart"].status is Severity.OK
    assert "musicality of 4 clips has standard deviation" in found["telling songs apart"].found


def test_a_model_that_collapsed_is_named(clips):
    found = by_subject(check_checkpoint(config("model=constant"), REMEDIES, clips))["telling songs apart"]
    assert found.status is Severity.WARNING
    assert "100% have the same score" in found.found
    assert "trained weights" in found.fix


def test_clips_that_cannot_be_scored_are_said(clips, tmp_path):
    (tmp_path / "0.wav").write_bytes(b"no audio")
    found = by_subject(check_checkpoint(config("model=signal"), REMEDIES, clips))["telling songs apart"]
    assert found.status is Severity.WARNING
    assert "4 clips could not be scored" in found.found


@pytest.fixture
def checkpoint(tmp_path):
    """A copy to damage."""
    shutil.copytree(PARITY, tmp_path / "bundle", ignore=shutil.ignore_patterns("audio", "ca_*", "sa_[!m]*"))
    return tmp_path / "bundle/sa_mean"


@pytest.mark.parametrize(
    ("damage", "subject", "says"),
    [
        (lambda file: file.write_bytes(file.read_bytes()[:-100]), "weights", "is cut off"),
        (lambda file: file.write_bytes(b"PK zip"), "weights", "no .safetensors file"),
        (lambda file: file.with_name("config.yaml").write_text("model: {}"), "files", "model.model_name"),
        (
            lambda file: file.with_name("config.yaml").write_text(
                file.with_name("config.yaml").read_text().replace("mlp_dim: 48", "mlp_dim: 24")
            ),
            "building it",
            "shape",
        ),
    ],
    ids=["cut off", "no safetensors", "no configuration", "another model's configuration"],
)
def test_a_checkpoint_that_is_damaged(checkpoint, damage, subject, says):
    damage(checkpoint / "model.safetensors")
    found = by_subject(check_checkpoint(config(f"model.checkpoint={checkpoint}"), REMEDIES))[subject]
    assert found.status is Severity.PROBLEM
    assert says in found.found
    assert found.fix


def test_a_checkpoint_that_was_not_fetched(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    (found,) = check_checkpoint(config(), REMEDIES)
    assert found.status is Severity.PROBLEM
    assert "HaiwenXia/CMI-RM/model.safetensors" in found.found
    assert found.fix == "python run.py task=prepare model=cmi_rm"


def test_weights_that_do_not_lie_at_the_top(tmp_path):
    words = ["model=songeval_rm", f"model.muq={PARITY}/muq", "model.hidden_state=1"]
    found = by_subject(check_checkpoint(config(*words, f"model.checkpoint={PARITY}/songeval"), REMEDIES))
    assert {one.status for one in found.values()} == {Severity.OK}
    assert "14 tensors" in found["weights"].found
    (missing,) = check_checkpoint(config(*words, f"model.checkpoint={tmp_path}/SongEval"), REMEDIES)
    assert (missing.status, missing.subject) == (Severity.PROBLEM, "building it")
    assert "task=prepare model=songeval_rm" in missing.fix


def test_weights_that_may_have_two_names(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    (found,) = check_checkpoint(config("model=clap"), REMEDIES)
    assert "laion/clap-htsat-unfused/config.json" in found.found


@pytest.mark.parametrize("model", ["cmi_rm", "muq_mulan", "clap", "audiobox"])
def test_a_path_that_is_not_there(model):
    (found,) = check_checkpoint(config(f"model={model}", "model.checkpoint=/nonexistent/checkpoint"), REMEDIES)
    assert found.status is Severity.PROBLEM
    assert "/nonexistent/checkpoint" in found.found


def test_a_class_that_is_not_there():
    (found,) = check_checkpoint(config("model=custom", "model.class_path=nowhere:Model"), REMEDIES)
    assert found.status is Severity.PROBLEM
    assert "There is no module 'nowhere'" in found.found
