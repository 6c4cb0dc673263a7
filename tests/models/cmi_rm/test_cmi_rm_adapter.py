"""The contract, and that a clip's score is the one it has alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cmi_bench.audio.decode import AudioError, decode
from cmi_bench.errors import UserError
from cmi_bench.models.base import BenchmarkBatchInput, BenchmarkModelABC
from cmi_bench.models.cmi_rm import CmiRM
from cmi_bench.models.cmi_rm.network import Embedded, Prompt
from cmi_bench.models.registry import build_model


@pytest.fixture(scope="module")
def waveforms(bundle):
    return {path.name: decode(path, 24_000) for path in (bundle / "audio").iterdir()}


@pytest.fixture(scope="module")
def mixed(waveforms) -> list[BenchmarkBatchInput]:
    """Clips of many lengths (one just over 30 s, one the shortest there can be), with and without reference."""
    long, short = waveforms["c_24k_31s.flac"], waveforms["a_24k_4s.flac"]
    reference = waveforms["ref_48k_3s.flac"]
    return [
        BenchmarkBatchInput(long, text="a", lyrics="la " * 300),
        BenchmarkBatchInput(short[:1025], text="a"),
        BenchmarkBatchInput(short, text="deep house groove", ref_audio=long),
        BenchmarkBatchInput(short[:30_001], text="", ref_audio=reference),
        BenchmarkBatchInput(short[:30_002], text="deep house groove"),
        BenchmarkBatchInput(long[: 30 * 24_000 + 1024], text="x", lyrics="y", ref_audio=reference[:1025]),
    ]


@pytest.mark.parametrize("name", ["sa_mean", "sa_conv", "ca_glu"])
@pytest.mark.parametrize("options", [{}, {"mode": "standard"}], ids=["final", "standard"])
def test_neighbours_do_not_matter(load, mixed, name, options):
    model = load(name, **options)
    alone = np.concatenate([model.score_batch([one], 1, 40.0) for one in mixed])
    for batch_size, order in ((6, [0, 1, 2, 3, 4, 5]), (4, [5, 1, 0, 4, 3, 2]), (2, [2, 4, 0, 3, 1, 5])):
        together = model.score_batch([mixed[index] for index in order], batch_size, 40.0)
        np.testing.assert_allclose(together, alone[order], atol=1e-5)


def test_contract(load, inputs):
    model = load("sa_mean")
    assert isinstance(model, BenchmarkModelABC)
    assert model.sr == 24_000
    assert model.audio_input == "waveform"
    scores = model.score_batch(inputs[:2], 8, 20.0)
    assert scores.shape == (2, 2)
    assert scores.dtype == np.float32
    assert model.score_batch([], 8, 20.0).shape == (0, 2)
    path = replace(inputs[0], audio=Path(inputs[0].audio))
    np.testing.assert_array_equal(model.score_batch([path, inputs[1]], 8, 20.0), scores)


def test_waveforms_score_like_their_files(load, inputs, waveforms):
    decoded = [
        replace(
            one,
            audio=waveforms[one.audio.rpartition("/")[2]],
            ref_audio=one.ref_audio and waveforms[one.ref_audio.rpartition("/")[2]],
        )
        for one in inputs
    ]
    model = load("sa_mean")
    np.testing.assert_array_equal(model.score_batch(decoded, 3, 20.0), model.score_batch(inputs, 3, 20.0))


def test_repeatable(load, inputs):
    model = load("sa_conv")
    np.testing.assert_array_equal(model.score_batch(inputs, 6, 20.0), model.score_batch(inputs, 6, 20.0))


def test_shared_audio_and_text_are_encoded_once(load, waveforms, monkeypatch):
    model = load("sa_none")
    chunks, texts = [], []
    monkeypatch.setattr(model, "encode_audio", lambda x, *rest: chunks.extend(x) or CmiRM.encode_audio(model, x, *rest))
    monkeypatch.setattr(model, "encode_texts", lambda x, *rest: texts.extend(x) or CmiRM.encode_texts(model, x, *rest))
    audio = waveforms["a_24k_4s.flac"]
    model.score_batch(
        [
            BenchmarkBatchInput(audio, text="a", ref_audio=audio.clone()),
            BenchmarkBatchInput(audio.clone(), text="b"),
            BenchmarkBatchInput(audio.clone(), text="b", lyrics="a"),
        ],
        2,
        120.0,
    )
    assert len(chunks) == 1
    assert sorted(texts) == ["", "a", "b"]


def test_steps_make_the_score(load, waveforms):
    model = load("ca_glu")
    audio, reference = waveforms["c_24k_31s.flac"], waveforms["ref_48k_3s.flac"]
    first, last, ref = model.encode_audio([audio[:720_000], audio[720_000:], reference])
    text, lyrics = model.encode_texts(["epic", ""])
    assert first.shape == (750, 32)
    score = model.score_embeddings([Embedded(torch.cat([first, last]), Prompt(text, lyrics, ref))])
    whole = model.score_batch([BenchmarkBatchInput(audio, text="epic", ref_audio=reference)], 1, 120.0)
    np.testing.assert_allclose(score.numpy(), whole, atol=1e-6)
    assert model.encode_audio([]) == model.encode_texts([]) == []


def test_a_last_chunk_too_short_for_the_mel_is_dropped(load, waveforms):
    audio = waveforms["c_24k_31s.flac"]
    cut, tail, whole = (
        load("sa_none").score_batch([BenchmarkBatchInput(audio[:samples], text="a")], 1, 120.0)
        for samples in (720_000, 720_000 + 1024, 720_000 + 1025)
    )
    np.testing.assert_array_equal(cut, tail)
    assert not np.array_equal(cut, whole)


@pytest.mark.parametrize("options", [{}, {"mode": "standard"}], ids=["final", "standard"])
def test_too_short_a_clip_is_named(load, options):
    model = load("sa_mean", **options)
    good = BenchmarkBatchInput(torch.zeros(4800), clip_id="1:a")
    with pytest.raises(AudioError, match=r"Clip 7:b is too short: 1024 samples at 24000 Hz; CMI-RM needs 1025"):
        model.score_batch([good, BenchmarkBatchInput(torch.zeros(1024), clip_id="7:b")], 2, 120.0)
    with pytest.raises(AudioError, match="The reference of clip 1:a is too short: 5 samples"):
        model.score_batch([replace(good, ref_audio=torch.zeros(5))], 2, 120.0)
    with pytest.raises(AudioError, match=r"Clip number 0 is too short: 240 samples"):
        model.score_batch([BenchmarkBatchInput(torch.zeros(4800))], 2, 0.01)


def test_what_is_no_waveform_is_named(load):
    model = load("sa_mean")
    with pytest.raises(AudioError, match=r"Clip 1:a is a tensor of shape \[1, 4800\]"):
        model.score_batch([BenchmarkBatchInput(torch.zeros(1, 4800), clip_id="1:a")], 1, 120.0)
    broken = torch.zeros(4800)
    broken[7] = float("nan")
    with pytest.raises(AudioError, match="Clip 1:a has no finite score"):
        model.score_batch([BenchmarkBatchInput(broken, clip_id="1:a")], 1, 120.0)
    with pytest.raises(AudioError, match=r"Cannot decode nowhere\.wav"):
        model.score_batch([BenchmarkBatchInput("nowhere.wav", clip_id="1:a")], 1, 120.0)


def test_silence_has_a_score(load):
    assert np.isfinite(load("sa_mean").score_batch([BenchmarkBatchInput(torch.zeros(24_000))], 1, 120.0)).all()


def test_text_only_leaves_the_lyrics_out(bundle_copy, inputs):
    folder = bundle_copy("sa_mean") / "sa_mean"
    late = CmiRM(str(folder)).score_batch(inputs[2:3], 1, 20.0)
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("concat_text_late", "text_only"))
    model = CmiRM(str(folder))
    with_lyrics = model.score_batch(inputs[2:3], 1, 20.0)
    without = model.score_batch([replace(inputs[2], lyrics="")], 1, 20.0)
    np.testing.assert_array_equal(with_lyrics, without)
    assert abs(with_lyrics - late).max() > 1e-4


def test_standard_without_a_step_scores_the_first_window(load, waveforms):
    audio = waveforms["a_24k_4s.flac"]
    model = load("sa_mean", mode="standard")
    whole, first = (
        model.score_batch([BenchmarkBatchInput(x, text="a", ref_audio=audio)], 1, 2.0) for x in (audio, audio[:48_000])
    )
    np.testing.assert_array_equal(whole, first)


def test_windows_over_the_whole_clip_need_the_file(load):
    assert load("sa_mean", mode="standard").audio_input == "waveform"
    assert load("sa_mean", mode="standard", dur_step=1.0).audio_input == "path"


@pytest.mark.parametrize("name", ["sa_mean", "ca_glu"])
def test_bf16_is_near(load, inputs, name):
    exact, near = (load(name, precision=precision).score_batch(inputs, 6, 2.0) for precision in ("32", "bf16"))
    assert near.dtype == np.float32
    assert 0 < abs(exact - near).max() < 0.03


def test_digest_follows_contents_only(load, bundle_copy):
    copy = bundle_copy("sa_mean")
    model = load("sa_mean")
    assert len(model.digest) == 64
    assert CmiRM(str(copy / "sa_mean"), mode="standard").digest == model.digest
    assert load("sa_none").digest != model.digest
    config = copy / "muq" / "config.json"
    config.write_text(config.read_text().replace("6.768444971712967", "6.77"))
    assert CmiRM(str(copy / "sa_mean")).digest != model.digest


def test_to_returns_the_model_on_the_device(bundle, inputs):
    model = CmiRM(str(bundle / "sa_mean"))
    assert model.to("cpu") is model
    assert model.device == torch.device("cpu")


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"mode": "finale"}, "There is no mode 'finale'.*Did you mean final"),
        ({"precision": "16"}, "There is no precision '16'.*bf16"),
        ({"dur_step": 1.0}, "dur_step=1.0 in mode final"),
        ({"mode": "standard", "dur_step": 0.0}, "dur_step=0.0 in mode standard"),
    ],
)
def test_options_not_understood(bundle, options, what):
    with pytest.raises(UserError, match=f"(?s){what}"):
        CmiRM(str(bundle / "sa_mean"), **options)


def test_score_batch_takes_no_options(load, inputs):
    with pytest.raises(UserError, match="no option 'dur_step'"):
        load("sa_mean").score_batch(inputs, 1, 20.0, dur_step=1.0)


def test_built_from_the_configuration(bundle, inputs):
    spec = {
        "name": "cmi_rm_head",
        "_target_": "cmi_bench.models.cmi_rm.CmiRM",
        "checkpoint": str(bundle / "sa_mean" / "model.safetensors"),
        "config": None,
        "mode": "standard",
        "dur_step": None,
    }
    model = build_model(spec, device="cpu", precision="bf16")
    assert (model.mode, model.precision) == ("standard", "bf16")
