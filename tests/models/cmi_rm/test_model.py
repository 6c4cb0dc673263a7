"""CMI-RM as a model: cutting clips, the contract, batches, parity of scores, precision, compilation."""

import logging
import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from cmi_bench.audio.decode import AudioError, decode
from cmi_bench.errors import UserError
from cmi_bench.models.base import BenchmarkBatchInput, BenchmarkModelABC, EmbeddedInput, InputKind
from cmi_bench.models.batching import arithmetic
from cmi_bench.models.cmi_rm import CmiRM
from cmi_bench.models.cmi_rm.network import Embedded, Prompt
from cmi_bench.models.cmi_rm.network import compiled as compiled_tower
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


@pytest.mark.parametrize(
    "name", [*(pytest.param(one, marks=pytest.mark.slow) for one in ("sa_mean", "sa_conv")), "ca_glu"]
)
@pytest.mark.parametrize(
    "options",
    [pytest.param({}, id="final"), pytest.param({"mode": "standard"}, id="standard", marks=pytest.mark.slow)],
)
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


def test_pooled_embeddings_are_what_the_rest_of_the_scorer_takes(load, bundle, waveforms):
    model = load("sa_mean")
    (windows,) = model.embed_audio([waveforms["c_24k_31s.flac"]], 120.0, is_reference=False)
    (reference,) = model.embed_audio([waveforms["ref_48k_3s.flac"]], 120.0, is_reference=True)
    text, lyrics = model.embed_texts(["epic", "la la"])
    clip = EmbeddedInput(windows, text, lyrics, reference[0])
    pooled = EmbeddedInput(
        [model.pool(window, "audio") for window in windows],
        model.pool(text, "text"),
        model.pool(lyrics, "lyrics"),
        model.pool(reference[0], "ref_audio"),
    )
    assert [model.pooling(kind) for kind in get_args(InputKind)] == ["means of 4", "means of 4", "", ""]
    assert pooled.windows[0].shape == (len(windows[0]) // 4, 32) and pooled.text is text and pooled.lyrics is lyrics
    rest = CmiRM(str(bundle / "sa_mean"))
    rest.loaded.network.scorer.eval_downsampler = rest.loaded.network.scorer.ref_downsampler = nn.Identity()
    rest.to("cpu")
    np.testing.assert_allclose(rest.score_embedded([pooled]), model.score_embedded([clip]), atol=1e-6)


@pytest.mark.parametrize("name", ["sa_none", "sa_conv", "ca_glu", "sa_meanpool_mlp"])
def test_nothing_with_parameters_is_pooled(load, name):
    model, frames = load(name), torch.ones(12, 32)
    for kind in get_args(InputKind):
        assert model.pooling(kind) == "" and model.pool(frames, kind) is frames


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


@pytest.mark.slow
def test_compiled_tower_gives_the_same_frames_in_any_batch(load, bundle, monkeypatch):
    # All of the compiler but for its code, which takes it a minute.
    monkeypatch.setattr("cmi_bench.models.cmi_rm.network.compiled", partial(compiled_tower, backend="aot_eager"))
    plain, compiled = load("sa_mean"), CmiRM(str(bundle / "sa_mean"), compile=True)
    generator = torch.Generator().manual_seed(0)
    chunks = [0.1 * torch.randn(seconds * 24000, generator=generator) for seconds in (30, 30, 2, 30)]
    for some in (chunks, chunks[:1]):
        torch.testing.assert_close(compiled.encode_audio(some), plain.encode_audio(some), atol=1e-5, rtol=1e-4)


def test_only_chunks_of_one_length_can_be_compiled(bundle):
    with pytest.raises(UserError, match="compile=true in mode standard"):
        CmiRM(str(bundle / "sa_mean"), compile=True, mode="standard")


def test_compiled_scores_are_kept_apart(load, bundle, caplog):
    with caplog.at_level(logging.WARNING):
        compiled = CmiRM(str(bundle / "sa_mean"), compile=True)

    assert "nothing faster on the CPU" in caplog.text
    assert compiled.digest == load("sa_mean").digest
    assert compiled.identity != load("sa_mean").identity
    assert compiled.audio_identity != load("sa_mean").audio_identity


def test_says_how_it_computed(load):
    model = load("sa_mean")
    model.encode_audio([torch.zeros(24000)])

    assert model.facts["compiled"] is False
    assert model.facts["kernels"] == "on"
    assert load("sa_mean", kernels="off").facts["kernels"] == "off"


CHECKPOINTS = ["sa_none", "sa_mean", "sa_meanpool_mlp", "sa_conv", "ca_glu"]
SETTINGS = {
    "max_dur_120": (120.0, {}),
    "max_dur_20": (20.0, {}),
    "standard_max_dur_2_step_1": (2.0, {"mode": "standard", "dur_step": 1.0}),
}
ORDERS = {1: [0, 1, 2, 3, 4, 5], 3: [3, 0, 5, 2, 4, 1], 6: [4, 1, 3, 5, 0, 2]}


@pytest.mark.parametrize(
    "setting",
    [
        "max_dur_20",
        *(pytest.param(one, marks=pytest.mark.slow) for one in ("max_dur_120", "standard_max_dur_2_step_1")),
    ],
)
@pytest.mark.parametrize("name", CHECKPOINTS)
def test_scores_at_any_batch_size_and_order(load, inputs, expected, name, setting):
    max_dur, options = SETTINGS[setting]
    model = load(name, **options)
    scores = np.array(expected["scores"][name][setting])
    for batch_size, order in ORDERS.items():
        found = model.score_batch([inputs[index] for index in order], batch_size, max_dur)
        np.testing.assert_allclose(found, scores[order], atol=1e-5)


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_scores_of_the_plain_modules(load, inputs, expected, name):
    found = load(name, kernels="off").score_batch(inputs, 6, 20.0)
    np.testing.assert_allclose(found, expected["scores"][name]["max_dur_20"], atol=1e-5)


@pytest.fixture(scope="module")
def tensors(bundle):
    return load_file(bundle / "intermediates_sa_mean.safetensors")


@pytest.fixture(scope="module")
def network(load):
    return load("sa_mean").loaded.network


@pytest.fixture(autouse=True)
def float32():
    with arithmetic("32", torch.device("cpu")):
        yield


def close(found, wanted):
    torch.testing.assert_close(found.reshape(wanted.shape), wanted, atol=1e-4, rtol=0.0)


def test_waveform(bundle, tensors):
    close(decode(bundle / "audio" / "b_44k_stereo_3s.flac", 24_000, 120.0), tensors["waveform"])


def test_audio_tower(network, tensors):
    tower = network.audio_tower
    close(tower.muq.mel.decibels(tensors["waveform"]), tensors["mel_db"])
    close(tower.muq.mel(tensors["waveform"]), tensors["mel_normalized"])
    close(tower.muq.conv(tensors["mel_normalized"]), tensors["conv_frontend"])
    close(tower.muq.conformer(tensors["conv_frontend"]), tensors["conformer"])
    close(tower(tensors["waveform"]), tensors["audio_tower_frames"])


def test_text_tower(load, inputs, tensors):
    model = load("sa_mean")
    ids = model.loaded.tokenizer.encode([inputs[2].text])
    assert ids == tensors["text_token_ids"].tolist()
    text, lyrics = model.encode_texts([inputs[2].text, inputs[2].lyrics])
    close(text, tensors["text_tower_tokens"])
    close(lyrics, tensors["lyrics_tower_tokens"])


def test_scorer(network, tensors):
    frames = tensors["audio_tower_frames"][0]
    asked = Prompt(text=tensors["text_tower_tokens"][0], lyrics=tensors["lyrics_tower_tokens"][0])
    (prompt,) = network.scorer.embed_joined([network.scorer.joined(asked)])
    audio = network.scorer.eval_downsampler(frames)
    close(prompt, tensors["prompt_embed"])
    close(audio, tensors["eval_audio_embeds_downsampled"])
    close(network.scorer.embed_audio([audio], [prompt]), tensors["eval_audio_embedding"])
    close(network.scorer([frames], [prompt]), tensors["scores"])


CODE = """
import sys, torch
from cmi_bench.models.cmi_rm import CmiRM
assert torch.get_num_threads() == 2
model = CmiRM(sys.argv[1], precision="bf16")
assert model.encode_audio([torch.zeros(48000)])[0].isfinite().all()
"""


@pytest.mark.slow
def test_bfloat16_returns_where_a_thread_gets_16_channels(bundle):
    """oneDNN's depthwise convolution did not: the bundle's Conformer has 32 channels."""
    environment = os.environ | {"OMP_NUM_THREADS": "2"}
    subprocess.run([sys.executable, "-c", CODE, str(bundle / "sa_mean")], env=environment, check=True, timeout=120)


MODES = [
    {}, {"mode": "standard"}, {"mode": "standard", "dur_step": 2.0}, {"mode": "standard", "dur_step": 3.0},
    {"precision": "bf16"},
]  # fmt: skip


def test_modes_and_steps_never_share_scores(load):
    """They give other scores from the same weights, so neither scores nor cut audio may be taken for the other's."""
    models = [load("sa_mean", **options) for options in MODES]
    assert len({model.digest for model in models}) == 1
    assert len({model.identity for model in models}) == len(MODES)
    views = {(model.audio_identity, model.audio_view(10.0, is_reference=False)) for model in models}
    assert len(views) == len(MODES)


@pytest.mark.parametrize("options", MODES)
@pytest.mark.parametrize("is_reference", [False, True])
def test_max_dur_is_part_of_the_cut(load, options, is_reference):
    short, long = (load("sa_mean", **options).audio_view(d, is_reference=is_reference).name for d in (10.0, 20.0))
    assert short != long
