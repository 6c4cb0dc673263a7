"""UniRL's reward service: the requests that its remote rewards make, and what they read in the answers."""

import base64

import numpy as np
import pytest
from reward_server import serving

from cmi_bench import SongScorer
from cmi_bench.models.signal.model import SignalBaseline

SR = 16000


class Lengths:
    """Musicality is the length in seconds."""

    sr = 8000
    audio_input = "waveform"

    def score_batch(self, inputs, batch_size, max_dur, **kwargs):
        return np.array([[np.nan, len(one.audio) / self.sr] for one in inputs])


@pytest.fixture(scope="module")
def client(songs):
    with serving({"signal": SignalBaseline()}, audio_root=songs) as running, running.client() as client:
        yield client


@pytest.fixture(scope="module")
def both(songs):
    models = {"signal": SignalBaseline(), "length": Lengths()}
    with serving(models, audio_root=songs) as running, running.client() as client:
        yield client


def in_base64(path):
    return base64.b64encode(path.read_bytes()).decode()


def asked(*turns, rewards=("musicality",), metadata=None):
    return {"history": list(turns), "required_rewards": list(rewards), "metadata": metadata}


def test_rewards_are_the_scores_of_the_same_bytes(client, songs):
    rewards = ["musicality", "alignment", "signal", "signal/alignment"]
    reference = {"text": "the song", "video_b64": in_base64(songs / "300.flac")}
    body = {
        "requests": [
            asked({"text": "slow", "audio_path": "200.flac"}, rewards=rewards, metadata={"lyrics": "la"}),
            asked(reference, {"text": "the song", "video_path": str(songs / "200.flac")}),
        ]
    }
    answer = client.post("/score", json=body).json()
    scorer = SongScorer(SignalBaseline())
    first = scorer.score(songs / "200.flac", text="slow", lyrics="la")
    second = scorer.score(songs / "200.flac", text="the song", ref_audio=songs / "300.flac")
    musicality, alignment = {"musicality": first.musicality}, {"alignment": first.alignment}
    assert answer["errors"] == [{}, {}]
    assert answer["results"] == [
        {
            "musicality": musicality,
            "alignment": alignment,
            "signal": musicality | alignment,
            "signal/alignment": alignment,
        },
        {"musicality": {"musicality": second.musicality}},
    ]
    # UniRL takes the first number of a reward, unless it is told otherwise.
    assert next(iter(answer["results"][0]["signal"])) == "musicality"


def test_a_song_that_fails_costs_no_other_its_rewards(client, songs):
    body = {
        "requests": [
            asked({"text": "slow", "audio_b64": in_base64(songs / "200.flac")}),
            asked({"text": "slow", "audio_b64": "no base64"}),
            asked({"text": "slow", "audio_path": "../elsewhere.flac"}),
            asked({"text": "slow", "image_b64": "a picture"}),
            asked({"text": "x" * 100_001, "audio_path": "200.flac"}),
        ]
    }
    answer = client.post("/score", json=body).json()
    assert [list(one) for one in answer["results"]] == [["musicality"], [], [], [], []]
    reasons = [one.get("musicality", "") for one in answer["errors"]]
    words = ["base64 cannot be read", "no file", "no audio", "100,000 characters"]
    assert not reasons[0]
    assert all(word in reason for word, reason in zip(words, reasons[1:], strict=True))


def test_names_of_rewards_and_health(client, both):
    names = ["musicality", "alignment", "signal", "signal/musicality", "signal/alignment"]
    assert client.get("/rewards").json() == {"rewards": names}
    assert client.get("/health").json()["rewards"] == {name: ["ready"] for name in names}
    several = both.get("/rewards").json()["rewards"]
    assert several == [
        f"{model}{aspect}" for model in ("signal", "length") for aspect in ("", "/musicality", "/alignment")
    ]
    refused = client.post("/score", json={"requests": [asked({"audio_path": "200.flac"}, rewards=["hpsv2"])]})
    assert refused.status_code == 404
    assert "no reward 'hpsv2'" in refused.json()["error"]["what"]


def test_several_models_answer_one_request(both, songs):
    body = {
        "requests": [
            asked({"audio_path": "200.flac"}, rewards=["length", "signal/musicality", "length/alignment"]),
            asked({"audio_path": "300.flac"}, rewards=["length"]),
            asked({"audio_path": "300.flac"}, rewards=[]),
        ]
    }
    answer = both.post("/score", json=body).json()
    assert answer["results"][0]["length"] == {"musicality": 1.0}
    assert answer["results"][0]["signal/musicality"]["musicality"] > 0
    assert answer["errors"] == [{"length/alignment": "length does not judge it."}, {}, {}]
    assert answer["results"][1:] == [{"length": {"musicality": 1.0}}, {}]


def test_nothing_asked_is_nothing_answered(client):
    assert client.post("/score", json={"requests": []}).json() == {"results": [], "errors": []}
    assert client.post("/score", json={"requests": [{"history": []}]}).status_code == 422
    assert client.post("/score", content=b"{").status_code == 400
