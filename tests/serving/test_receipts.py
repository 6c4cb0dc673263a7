"""Receipts are the scores of `cmi-bench score` on the same bytes, whatever else the server scores at the same time."""

import json
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from encoders import FrameEncoder
from reward_server import composed_once, serving

from cmi_bench.data.audio_info import FileIndex
from cmi_bench.models.adapter import adapt
from cmi_bench.models.cmi_rm import CmiRM
from cmi_bench.models.signal.model import SignalBaseline
from cmi_bench.scoring.batching import BatchLimits
from cmi_bench.scoring.local import LocalRunner
from cmi_bench.scoring.score import score_clips
from cmi_bench.types import Clip

BUNDLE = Path(__file__).parents[1] / "data" / "parity" / "cmi_rm"
SR = 16000
CLOSE = 1e-4
"""How far a receipt may be from the command's score."""


def write_songs(folder, lengths):
    rng = np.random.default_rng(0)
    for number, seconds in enumerate(lengths):
        time = np.arange(int(seconds * SR)) / SR
        samples = 0.3 * np.sin(2 * np.pi * (150 + 40 * number) * time) + 0.05 * rng.standard_normal(len(time))
        kind = ("wav", "flac", "ogg")[number % 3]
        soundfile.write(folder / f"{number}.{kind}", samples, SR)
    return sorted(folder.iterdir(), key=lambda path: int(path.stem))


def clips_of(songs):
    return [
        Clip(
            f"{number + 1}:a",
            song,
            text=f"slow song {number % 3}",
            lyrics="la " * (number % 4),
            ref_audio=songs[0] if number % 2 else None,
        )
        for number, song in enumerate(songs)
    ]


def scored(clips, model, store, folder, **values):
    """Score as the command does."""
    config = replace(composed_once(), cache=replace(composed_once().cache, dir=str(store)), on_error="record", **values)
    runner = LocalRunner(BatchLimits(config.batch_size, config.batch_seconds), workers=2, show_progress=False)
    found = score_clips(
        clips, adapt(model), runner, config=config, index=FileIndex(), folder=folder, with_batch_check=False
    )
    return [found.scores[clip.clip_id] for clip in clips]


def ask(client, clip):
    files = {"audio": (clip.audio.name, clip.audio.read_bytes())}
    if clip.ref_audio:
        files["ref_audio"] = (clip.ref_audio.name, clip.ref_audio.read_bytes())
    answer = client.post("/v1/score", files=files, data={"text": clip.text, "lyrics": clip.lyrics})
    assert answer.status_code == 200, answer.text
    return answer.json()


def numbers(receipts):
    return [
        tuple(math.nan if one[name] is None else one[name] for name in ("alignment", "musicality")) for one in receipts
    ]


@pytest.mark.parametrize("kind", ["whole", "embedded"])
def test_many_songs_at_once(kind, tmp_path):
    (tmp_path / "songs").mkdir()
    clips = clips_of(write_songs(tmp_path / "songs", [0.3 + 0.1 * (5 * number % 7) for number in range(6)]))
    make = SignalBaseline if kind == "whole" else FrameEncoder
    expected = scored(clips, make(), tmp_path / "a", tmp_path / "run", max_dur=1.0)
    with (
        serving({"m": make()}, store=tmp_path / "b", values={"max_dur": 1.0, "batch_size": 4}) as served,
        served.client() as client,
        ThreadPoolExecutor(6) as pool,
    ):
        receipts = list(pool.map(lambda clip: ask(client, clip), clips))
    assert np.allclose(numbers(receipts), [one.columns for one in expected], atol=CLOSE, rtol=0, equal_nan=True)
    assert not any(receipt["from_store"] for receipt in receipts)
    # What the server kept is what the command finds, and the other way round.
    model = make()
    again = scored(clips, model, tmp_path / "b", tmp_path / "other", max_dur=1.0)
    assert np.array_equal(numbers(receipts), [one.columns for one in again], equal_nan=True)
    assert not getattr(model, "encoded", None)
    with serving({"m": make()}, store=tmp_path / "a", values={"max_dur": 1.0}) as served, served.client() as client:
        stored = [ask(client, clip) for clip in clips]
    assert all(receipt["from_store"] for receipt in stored)
    assert np.array_equal(numbers(stored), [one.columns for one in expected], equal_nan=True)


def test_embeddings_are_used_again_for_another_prompt(tmp_path):
    (tmp_path / "songs").mkdir()
    (song,) = write_songs(tmp_path / "songs", [1.0])
    model = FrameEncoder()
    with serving({"m": model}, store=tmp_path / "store") as served, served.client() as client:
        found = [ask(client, Clip("1:a", song, text=text))["alignment"] for text in ("one", "three", "one")]
    assert found == [3.0, 5.0, 3.0]
    assert len(model.encoded) == 1


@pytest.mark.slow
def test_receipts_of_cmi_rm_in_one_batch_with_all_lengths(tmp_path):
    (tmp_path / "songs").mkdir()
    clips = clips_of(write_songs(tmp_path / "songs", [1.5 + 0.8 * (3 * number % 5) for number in range(5)]))

    def make():
        return CmiRM(str(BUNDLE / "sa_mean"), device="cpu")

    expected = [scored([clip], make(), tmp_path / "a", tmp_path / "run")[0] for clip in clips]
    asked = {"songs": [], "model": "cmi_rm"}
    files = {}
    for clip in clips:
        files[clip.audio.name] = (clip.audio.name, clip.audio.read_bytes())
        one = {"audio": {"part": clip.audio.name}, "text": clip.text, "lyrics": clip.lyrics}
        asked["songs"].append(one | ({"ref_audio": {"part": clip.ref_audio.name}} if clip.ref_audio else {}))
    with serving({"cmi_rm": make()}, store=tmp_path / "b") as served, served.client() as client:
        answer = client.post("/v1/score_batch", files=files, data={"request": json.dumps(asked)}, timeout=120)
        receipts = answer.json()["receipts"]
    assert [one["error"] for one in receipts] == [None] * len(clips)
    assert np.allclose(numbers(receipts), [one.columns for one in expected], atol=CLOSE, rtol=0)
