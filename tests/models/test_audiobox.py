"""Audiobox Aesthetics: what the package's own predictor computes, both file layouts, strictness."""

import json
import sys

import numpy as np
import pytest
import torch
from tiny_audiobox import make_small, save_small_audiobox, save_small_checkpoint, small_network

from cmi_bench.errors import UserError
from cmi_bench.models.audiobox import Audiobox
from cmi_bench.models.base import BenchmarkBatchInput
from cmi_bench.models.registry import build_model

infer = pytest.importorskip("audiobox_aesthetics.infer")

AXES = ("CE", "CU", "PC", "PQ")
SR = 16_000


@pytest.fixture(autouse=True)
def small(monkeypatch):
    make_small(monkeypatch)


@pytest.fixture
def folder(tmp_path):
    return save_small_audiobox(tmp_path / "audiobox")


@pytest.fixture(scope="module")
def noise():
    return torch.randn(23 * SR, generator=torch.Generator().manual_seed(0)) * 0.1


class Predictor(infer.AesPredictor):
    """The package's predictor, over the small network."""

    def setup_model(self):
        self.device = torch.device("cpu")
        self.model = small_network()
        self.target_transform = {axis: infer.Normalize(**self.model.target_transform[axis]) for axis in AXES}


@pytest.mark.parametrize("seconds", [23.0, 10.0, 3.0, 0.05])
def test_equal_to_the_package(folder, noise, seconds):
    clip = noise[: int(seconds * SR)]
    wanted = Predictor(None).forward([{"path": clip[None], "sample_rate": SR}])[0]
    models = {axis: Audiobox(str(folder), axis) for axis in AXES}
    for axis, model in models.items():
        (score,) = model.score_batch([BenchmarkBatchInput(clip)], 1, 120.0)
        assert score[1] == pytest.approx(wanted[axis], abs=1e-5)
        assert np.isnan(score[0])
    assert len({round(value, 3) for value in wanted.values()}) == 4


def test_all_layouts_are_read(folder, tmp_path, noise):
    file = save_small_checkpoint(tmp_path / "checkpoint.pt")
    inputs = [BenchmarkBatchInput(noise)]
    wanted = Audiobox(str(folder), "mean").score_batch(inputs, 1, 3.0)
    for checkpoint in (file, folder / "model.safetensors"):
        scores = Audiobox(str(checkpoint), "mean").score_batch(inputs, 1, 3.0)
        np.testing.assert_allclose(scores, wanted, rtol=1e-6)


def test_one_pass_serves_all_axes(folder):
    one, other = Audiobox(str(folder), "CE"), Audiobox(str(folder), "PQ")
    assert one.audio_identity == other.audio_identity
    assert one.identity != other.identity


def test_strictness(folder, tmp_path):
    file = save_small_checkpoint(tmp_path / "checkpoint.pt")
    content = torch.load(file)
    content["state_dict"].pop("model.proj_layer.CE.0.bias")
    torch.save(content, file)
    with pytest.raises(UserError, match=r"missing tensor proj_layer\.CE\.0\.bias"):
        Audiobox(str(file), "CE")
    config = folder / "config.json"
    values = json.loads(config.read_text())
    config.write_text(json.dumps(values | {"proj_num_layer": 3}))
    with pytest.raises(
        UserError, match=r"model\.safetensors: tensor proj_layer\.CE\.3\.bias has shape \[1\]; the config"
    ):
        Audiobox(str(folder), "CE")
    config.write_text(json.dumps(values | {"target_transform": None}))
    with pytest.raises(UserError, match="no readable target_transform"):
        Audiobox(str(folder), "CE")


def test_a_file_that_would_run_code_is_not_read(tmp_path):
    file = save_small_checkpoint(tmp_path / "checkpoint.pt", more=Predictor)
    with pytest.raises(UserError, match=r"(?s)no checkpoint .* safe to read.*config\.json and model\.safetensors"):
        Audiobox(str(file), "CE")


def test_options(folder):
    with pytest.raises(UserError, match=r"(?s)axis='PW' is none of CE, CU, PC, PQ, mean"):
        Audiobox(str(folder), "PW")
    spec = {"_target_": "cmi_bench.models.audiobox.Audiobox", "checkpoint": str(folder), "axis": "CE"}
    with pytest.raises(UserError, match="precision of its own"):
        build_model(spec, device="cpu", precision="bf16")


def test_without_the_package(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "audiobox_aesthetics.model.aes", None)
    with pytest.raises(UserError, match=r"(?s)needs the package audiobox_aesthetics.*pip install .*'\.\[audiobox\]'"):
        Audiobox(str(folder), "CE")
