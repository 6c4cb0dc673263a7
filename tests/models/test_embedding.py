"""Models that embed: the contract, batches, unused inputs, and runs on a few rows of the mini benchmark."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_audiobox import make_small, save_small_audiobox
from tiny_clap import save_small_clap

from cmi_bench.audio.decode import AudioError, decode
from cmi_bench.errors import UserError
from cmi_bench.models.audiobox import Audiobox
from cmi_bench.models.base import BenchmarkBatchInput, EmbeddedInput, EmbeddingModel
from cmi_bench.models.clap import Clap
from cmi_bench.models.muq_mulan import MuQMuLan
from cmi_bench.models.songeval import SongEvalRM

BUNDLE = Path(__file__).parents[1] / "data" / "parity" / "cmi_rm"


def songeval(_folder):
    return SongEvalRM(str(BUNDLE / "songeval"), str(BUNDLE / "muq"), 1, "musicality")


def muq_mulan(_folder):
    return MuQMuLan(str(BUNDLE / "muq-mulan"), reference="mean")


def clap(folder):
    return Clap(str(save_small_clap(folder)), reference="mean")


def audiobox(folder):
    pytest.importorskip("audiobox_aesthetics")
    with pytest.MonkeyPatch.context() as patch:
        make_small(patch)
        return Audiobox(str(save_small_audiobox(folder)), "CE")


@pytest.fixture(scope="module", params=[songeval, muq_mulan, clap, audiobox], ids=lambda build: build.__name__)
def model(request, tmp_path_factory):
    return request.param(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def clips(model):
    """Clips of many lengths, of one window and of several, with and without text and reference."""
    long = decode(BUNDLE / "audio/c_24k_31s.flac", model.sr)
    short = decode(BUNDLE / "audio/b_44k_stereo_3s.flac", model.sr)
    return [
        BenchmarkBatchInput(long[: 13 * model.sr], text="slow ambient drone", lyrics="la"),
        BenchmarkBatchInput(short[:2000], text="deep house groove"),
        BenchmarkBatchInput(short, text="", ref_audio=long[: 11 * model.sr]),
        BenchmarkBatchInput(long[: 10 * model.sr], text="music " * 700, ref_audio=short),
        BenchmarkBatchInput(short[:-1], text="a cheerful pop song with bright piano"),
    ]


@pytest.fixture(scope="module")
def alone(model, clips):
    return np.concatenate([model.score_batch([clip], 1, 120.0) for clip in clips])


def embedded(model, clips, order, max_dur=120.0):
    """Score as a run does: all audio of a kind together, all texts together."""
    chosen = [clips[index] for index in order]
    audio = model.embed_audio([clip.audio for clip in chosen], max_dur, is_reference=False)
    with_reference = [clip for clip in chosen if clip.ref_audio is not None]
    references = iter(model.embed_audio([clip.ref_audio for clip in with_reference], max_dur, is_reference=True))
    texts, lyrics = (model.embed_texts([getattr(clip, kind) for clip in chosen]) for kind in ("text", "lyrics"))
    return model.score_embedded(
        [
            EmbeddedInput(windows, text, line, None if clip.ref_audio is None else next(references)[0])
            for clip, windows, text, line in zip(chosen, audio, texts, lyrics, strict=True)
        ]
    )


def test_contract(model, alone):
    assert isinstance(model, EmbeddingModel)
    assert model.audio_input == "waveform"
    assert alone.dtype == np.float32
    assert np.isnan(alone).all(axis=0).sum() == 1  # it judges one of the two
    assert np.isfinite(alone).any(axis=1).all()
    assert len({float(value) for value in alone[~np.isnan(alone)]}) == len(alone)
    assert model.score_batch([], 4, 120.0).shape == (0, 2)
    assert model.identity != model.audio_identity


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [4, 2, 0, 3, 1], [3, 0]])
def test_neighbours_and_order_do_not_matter(model, clips, alone, order):
    np.testing.assert_allclose(embedded(model, clips, order), alone[order], atol=1e-5)


def test_max_dur_is_part_of_the_cut(model):
    assert model.audio_view(10.0, is_reference=False).name != model.audio_view(20.0, is_reference=False).name


def test_no_more_than_max_dur_is_heard(model, clips):
    cut = [BenchmarkBatchInput(clips[0].audio[: 2 * model.sr], text=clips[0].text)]
    np.testing.assert_array_equal(model.score_batch(clips[:1], 1, 2.0), model.score_batch(cut, 1, 120.0))
    assert model.audio_view(2.0, is_reference=False).seconds == 2.0
    assert model.audio_view(2.0, is_reference=False).name != model.audio_view(3.0, is_reference=False).name


def test_files_score_like_their_waveforms(model):
    path = BUNDLE / "audio/d_16k_2s.flac"
    scores = [
        model.score_batch([BenchmarkBatchInput(audio, text="music")], 1, 1.5)
        for audio in (str(path), decode(path, model.sr))
    ]
    np.testing.assert_array_equal(*scores)


def test_what_is_unused_makes_no_difference(model, clips):
    plain = model.score_batch([BenchmarkBatchInput(clips[1].audio)], 1, 120.0)
    given = {"text": "slow ambient drone", "lyrics": "la la", "ref_audio": clips[4].audio}
    for kind, value in given.items():
        scores = model.score_batch([BenchmarkBatchInput(clips[1].audio, **{kind: value})], 1, 120.0)
        assert np.array_equal(scores, plain, equal_nan=True) is (kind in model.unused_inputs)


def test_silence_has_a_score(model):
    assert np.isfinite(model.score_batch([BenchmarkBatchInput(torch.zeros(model.sr))], 1, 120.0)).sum() == 1


def test_bad_audio_is_named(model, clips):
    broken = clips[1].audio.clone()
    broken[7] = float("nan")
    with pytest.raises(AudioError, match=r"Clip 3:b has no finite score"):
        model.score_batch([clips[1], BenchmarkBatchInput(broken, clip_id="3:b")], 2, 120.0)
    with pytest.raises(AudioError, match=r"Clip number 0 is too short: 0 samples"):
        model.score_batch([BenchmarkBatchInput(torch.zeros(0))], 2, 120.0)
    with pytest.raises(AudioError, match=r"Clip number 0 is a tensor of shape \[1, 9\]"):
        model.score_batch([BenchmarkBatchInput(torch.zeros(1, 9))], 2, 120.0)


def test_no_options_in_score_batch(model, clips):
    with pytest.raises(UserError, match="no option 'dur_step'"):
        model.score_batch(clips, 1, 120.0, dur_step=1.0)


def test_to_returns_the_model_on_the_device(model, clips, alone):
    assert model.to("cpu") is model
    np.testing.assert_array_equal(model.score_batch(clips[1:2], 1, 120.0), alone[1:2])


SONGEVAL = [f"model.checkpoint={BUNDLE}/songeval", f"model.muq={BUNDLE}/muq", "model.hidden_state=1"]
ROWS = 2
"""Of each dataset."""


@pytest.fixture
def run(run_here, mini_root, tmp_path):
    """Run a model; return the rows with their scores, and the counts."""

    def run(name, *words):
        folder = tmp_path / name
        run_here(
            "data=mini", f"data.root={mini_root}", f"data.jsonl={mini_root}/all_test.jsonl", f"limit={ROWS}",
            f"cache.dir={tmp_path}/cache", "tracking=none", "metrics.resamples=0", "metrics.report=false", "workers=0",
            "+device=cpu", "max_dur=2", *words, folder=folder,
        )  # fmt: skip
        rows = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
        return rows, json.loads((folder / "metadata.json").read_text())["counts"]

    return run


def scores(rows, name):
    return [row[key] for row in rows for key in (name, f"{name}_b") if key in row]


@pytest.mark.slow
def test_songeval(run):
    rows, counts = run("musicality", "model=songeval_rm", *SONGEVAL)
    found = scores(rows, "predicted_musicality")
    assert len(found) == counts["clips"] == 6 * ROWS  # of the four datasets two have pairs
    assert all(1 < score < 5 for score in found)
    assert counts["failed"] == 0
    again, later = run("clarity", "model=songeval_rm", *SONGEVAL, "model.dimension=clarity")
    assert later["chunks_encoded"] == 0  # all five ratings were kept
    assert scores(again, "predicted_musicality") != found


@pytest.mark.slow
def test_muq_mulan(run):
    words = ["model=muq_mulan", f"model.checkpoint={BUNDLE}/muq-mulan", "subset=cmi_pref", "limit=20"]
    rows, counts = run("ignore", *words)
    assert all(-1 < score < 1 for score in scores(rows, "predicted_text-music alignment"))
    assert counts["failed"] == 0
    _, later = run("mean", *words, "model.reference=mean")
    assert later["unique_audio"] > counts["unique_audio"]
    assert later["chunks_encoded"] == later["unique_audio"] - counts["unique_audio"]  # the references only


@pytest.mark.slow
@pytest.mark.parametrize("name", ["clap", "clap_music"])
def test_clap(run, tmp_path, name):
    rows, counts = run(name, f"model={name}", f"model.checkpoint={save_small_clap(tmp_path / 'small')}")
    assert all(-1 < score < 1 for score in scores(rows, "predicted_text-music alignment"))
    assert counts["failed"] == 0


@pytest.mark.slow
def test_audiobox(run, tmp_path, monkeypatch):
    pytest.importorskip("audiobox_aesthetics")
    make_small(monkeypatch)
    rows, counts = run("audiobox", "model=audiobox", f"model.checkpoint={save_small_audiobox(tmp_path / 'small')}")
    assert len(set(scores(rows, "predicted_musicality"))) > 4
    assert counts["failed"] == 0


def test_weights_are_known_by_the_tensors_that_are_used(tmp_path):
    for base in ("muq", "muq-mulan", "xlm-roberta"):
        shutil.copytree(BUNDLE / base, tmp_path / base)
    file = tmp_path / "muq-mulan/model.safetensors"
    tensors = load_file(file)

    def digests(**changed):
        save_file(tensors | changed, file)
        found = MuQMuLan(str(tmp_path / "muq-mulan"))
        return found.digest, found.weights_digest

    before = digests()
    training = digests(**{"mulan.contrast.temperature": torch.ones(1)})
    assert training[0] != before[0]
    assert training[1] == before[1]
    name = "mulan.audio_to_latents.weight"
    assert digests(**{name: tensors[name] + 1})[1] != before[1]


def test_every_model_says_which_weights_it_uses(model):
    assert {len(model.digest), len(model.weights_digest)} == {64}
    assert model.weights_digest != model.digest
