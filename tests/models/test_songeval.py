"""SongEval's reward model: parity, options, strictness."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from cmi_bench.errors import UserError
from cmi_bench.models.base import BenchmarkBatchInput
from cmi_bench.models.muq.config import read_muq_config
from cmi_bench.models.songeval import SongEvalRM, load_muq

BUNDLE = Path(__file__).parents[1] / "data" / "parity" / "cmi_rm"
EXPECTED = json.loads((BUNDLE / "expected_baselines.json").read_text())


def build(folder=BUNDLE, **options):
    return SongEvalRM(
        str(folder / "songeval"), str(folder / "muq"), **({"hidden_state": 1, "dimension": "musicality"} | options)
    )


@pytest.fixture(scope="module")
def inputs():
    return [BenchmarkBatchInput(str(BUNDLE / "audio" / item["audio"])) for item in EXPECTED["items"]]


@pytest.fixture
def copy(tmp_path):
    for name in ("songeval", "muq"):
        shutil.copytree(BUNDLE / name, tmp_path / name)
    return tmp_path


def edit(file, change):
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file)


@pytest.mark.parametrize("dimension", EXPECTED["songeval"]["dimensions"])
def test_parity(inputs, dimension):
    wanted = np.array(EXPECTED["songeval"]["scores"])[:, EXPECTED["songeval"]["dimensions"].index(dimension)]
    chosen = inputs[:3] if dimension != "musicality" else inputs
    scores = build(dimension=dimension).score_batch(chosen, 4, 120.0)
    np.testing.assert_allclose(scores[:, 1], wanted[: len(chosen)], atol=1e-5)
    assert np.isnan(scores[:, 0]).all()


def test_the_mean_of_all(inputs):
    wanted = np.array(EXPECTED["songeval"]["scores"])[:3].mean(axis=1)
    np.testing.assert_allclose(build(dimension="mean").score_batch(inputs[:3], 4, 120.0)[:, 1], wanted, atol=1e-5)


def test_hidden_states_are_numbered_as_transformers_does():
    config = read_muq_config(BUNDLE / "muq/config.json")
    waveform = torch.sin(torch.arange(24_000) / 9.0)[None]
    first, last = (load_muq(config, BUNDLE / "muq/model.safetensors", index) for index in (1, 2))
    whole = last.conformer
    x = last.conv(last.mel(waveform))
    rotary = whole.embed_positions(x.shape[1])
    torch.testing.assert_close(first(waveform), whole.layers[0](x, rotary))
    torch.testing.assert_close(last(waveform), whole.layer_norm(whole.layers[1](whole.layers[0](x, rotary), rotary)))


def test_bf16_is_near(inputs):
    exact, near = (build(precision=precision).score_batch(inputs[:2], 2, 120.0)[:, 1] for precision in ("32", "bf16"))
    assert 0 < abs(exact - near).max() < 0.05


def test_another_dimension_shares_the_embeddings(copy):
    one, other = build(), build(dimension="clarity")
    assert one.audio_identity == other.audio_identity
    assert one.identity != other.identity
    assert build(copy).identity == one.identity
    assert build(hidden_state=2).audio_identity != one.audio_identity


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"dimension": "Musicality"}, "dimension='Musicality' is none of coherence.*Did you mean musicality"),
        ({"hidden_state": 6}, "hidden_state=6, but the MuQ in .*muq has 2 layers.*1 to 2"),
        ({"hidden_state": 0}, "hidden_state=0"),
        ({"precision": "16"}, "There is no precision '16'"),
    ],
)
def test_options_not_understood(options, says):
    with pytest.raises(UserError, match=f"(?s){says}"):
        build(**options)


@pytest.mark.parametrize(
    ("file", "change", "says"),
    [
        ("songeval/ckpt", lambda t: t.pop("fc.bias"), r"songeval.*missing tensor fc\.bias"),
        ("songeval/ckpt", lambda t: t.update(extra=torch.zeros(1)), "songeval.*unexpected tensor extra"),
        ("songeval/ckpt", lambda t: t.update({"fc.bias": torch.zeros(4)}), r"fc\.bias has shape \[4\]"),
        ("muq", lambda t: t.pop("model.conv.linear.bias"), r"muq.*missing tensor model\.conv\.linear\.bias"),
        (
            "muq",
            lambda t: t.pop("model.conformer.layers.1.ffn1.output_dense.bias"),
            r"missing tensor model\.conformer\.layers\.1",
        ),
        ("muq", lambda t: t.update({"model.extra": torch.zeros(1)}), r"unexpected tensor model\.extra"),
    ],
)
def test_tensors_are_named(copy, file, change, says):
    edit(copy / file / "model.safetensors", change)
    with pytest.raises(UserError, match=says):
        build(copy)


def test_a_muq_of_another_width(copy):
    config = copy / "songeval/config.yaml"
    config.write_text(config.read_text().replace("in_features: 32", "in_features: 64"))
    with pytest.raises(UserError, match=r"generator.in_features is 64, but the frames of .*muq are 32 wide"):
        build(copy)


def test_files_are_found_wherever_they_may_lie(copy):
    weights = copy / "songeval/ckpt/model.safetensors"
    digest = SongEvalRM(str(weights), str(copy / "muq"), 1, "mean").digest
    weights.rename(copy / "songeval/model.safetensors")
    assert SongEvalRM(str(copy / "songeval"), str(copy / "muq/model.safetensors"), 1, "mean").digest == digest
    shutil.rmtree(copy / "songeval")
    with pytest.raises(UserError, match=r"(?s)weights are not at .*git clone"):
        build(copy)
