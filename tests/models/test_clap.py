"""CLAP: what the library itself computes, windows, strictness, file layouts."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_clap import SR, changing_music, save_small_clap
from transformers import AutoTokenizer, ClapFeatureExtractor, ClapModel

from cmi_bench.errors import UserError
from cmi_bench.models.base import BenchmarkBatchInput
from cmi_bench.models.clap import Clap, windows_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_small_clap(tmp_path_factory.mktemp("clap"))


@pytest.fixture(scope="module")
def model(folder):
    return Clap(str(folder))


@pytest.fixture(scope="module")
def music():
    return changing_music(seconds=23)


@pytest.mark.parametrize("seconds", [10.0, 4.0, 0.3])
def test_equal_to_the_library(folder, model, music, seconds):
    network, extractor = ClapModel.from_pretrained(folder), ClapFeatureExtractor.from_pretrained(folder)
    waveform = music[-int(seconds * SR) :]
    features = extractor([waveform.numpy()], sampling_rate=SR, return_tensors="pt")
    tokens = AutoTokenizer.from_pretrained(folder)("slow ambient drone", return_tensors="pt")
    with torch.inference_mode():
        audio = network.get_audio_features(**features).pooler_output[0]
        text = network.get_text_features(tokens["input_ids"], tokens["attention_mask"]).pooler_output[0]
    score = model.score_batch([BenchmarkBatchInput(waveform, text="slow ambient drone")], 1, 120.0)[0, 0]
    assert score == pytest.approx(float(audio @ text), abs=1e-5)


@pytest.mark.parametrize("truncation", ["rand_trunc", "fusion"])
def test_spectrogram_is_the_library_s(music, truncation, tmp_path):
    extractor = ClapFeatureExtractor(truncation=truncation)
    save_small_clap(tmp_path, enable_fusion=truncation == "fusion")
    quiet_and_loud = torch.stack([music[: 10 * SR], music[-10 * SR :] * 1e-4, torch.zeros(10 * SR)])
    wanted = extractor(list(quiet_and_loud.numpy()), sampling_rate=SR, return_tensors="pt")["input_features"]
    torch.testing.assert_close(Clap(str(tmp_path)).mel(quiet_and_loud), wanted.float(), atol=1e-4, rtol=0)


def test_several_windows_are_averaged(model, music):
    prompt = "deep house groove"
    parts = [music[: 10 * SR], music[10 * SR : 20 * SR], music[13 * SR :]]
    each = model.score_batch([BenchmarkBatchInput(part, text=prompt) for part in parts], 3, 120.0)[:, 0]
    whole = model.score_batch([BenchmarkBatchInput(music, text=prompt)], 1, 120.0)[0, 0]
    assert whole == pytest.approx(each.mean(), abs=1e-6)
    assert len(set(each.round(5))) == 3


def test_windows():
    clip = torch.arange(1.0, 24.0)
    assert [window[0].item() for window in windows_of(clip, 10)] == [1, 11, 14]
    assert [window[0].item() for window in windows_of(clip[:20], 10)] == [1, 11]
    assert windows_of(clip[:4], 10)[0].tolist() == [1, 2, 3, 4, 1, 2, 3, 4, 0, 0]


def test_bf16_is_near(folder, model, music):
    inputs = [BenchmarkBatchInput(music[: 4 * SR], text="music")]
    near = Clap(str(folder), precision="bf16").score_batch(inputs, 1, 120.0)[0, 0]
    assert 0 < abs(near - model.score_batch(inputs, 1, 120.0)[0, 0]) < 0.05


def test_a_fusing_model_is_repeatable(tmp_path, music):
    save_small_clap(tmp_path, enable_fusion=True)
    model = Clap(str(tmp_path))
    inputs = [BenchmarkBatchInput(music, text="music"), BenchmarkBatchInput(music[:SR], text="music")]
    together = model.score_batch(inputs, 2, 120.0)
    np.testing.assert_allclose(
        np.concatenate([model.score_batch([one], 1, 120.0) for one in inputs]), together, atol=1e-6
    )


def test_weights_in_the_older_format(tmp_path, model, music):
    save_small_clap(tmp_path)
    torch.save(load_file(tmp_path / "model.safetensors"), tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    inputs = [BenchmarkBatchInput(music[:SR], text="music")]
    older = Clap(str(tmp_path))
    np.testing.assert_allclose(older.score_batch(inputs, 1, 120.0), model.score_batch(inputs, 1, 120.0), atol=1e-6)
    assert older.loaded.files[0].name == "pytorch_model.bin"
    assert older.identity != model.identity  # other bytes


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t.pop("audio_projection.linear1.bias"), "missing tensor audio_projection.linear1.bias"),
        (lambda t: t.update(extra=torch.zeros(1)), "unexpected tensor extra"),
        (lambda t: t.update({"audio_projection.linear1.bias": torch.zeros(3)}), "Cannot read CLAP|misshapen tensor"),
    ],
)
def test_tensors_are_named(tmp_path, change, says, capsys):
    tensors = load_file(save_small_clap(tmp_path) / "model.safetensors")
    change(tensors)
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    capsys.readouterr()
    with pytest.raises(UserError, match=says):
        Clap(str(tmp_path))
    assert capsys.readouterr() == ("", "")  # no bars, no report of the library's


def test_constants_of_older_files_are_passed_over(tmp_path, model):
    tensors = load_file(save_small_clap(tmp_path) / "model.safetensors")
    tensors["text_model.embeddings.position_ids"] = torch.arange(66)[None]
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert Clap(str(tmp_path)).sr == model.sr == SR


def test_files_that_are_missing_or_broken(tmp_path):
    save_small_clap(tmp_path)
    preprocessor = tmp_path / "preprocessor_config.json"
    values = json.loads(preprocessor.read_text())
    preprocessor.write_text(json.dumps(values | {"padding": "repeat"}))
    with pytest.raises(UserError, match=r"(?s)padding is 'repeat'.*mean repeatpad"):
        Clap(str(tmp_path))
    preprocessor.write_text(json.dumps(values))
    (tmp_path / "model.safetensors").write_bytes(b"cut off")
    with pytest.raises(UserError, match=f"Cannot read CLAP in {tmp_path}"):
        Clap(str(tmp_path))
    preprocessor.unlink()
    with pytest.raises(UserError, match=r"holds no preprocessor_config\.json"):
        Clap(str(tmp_path))
