"""A reward server over HTTP: what it answers, and that its scores are those of `SongScorer` on the same bytes."""

import hashlib
import json

import numpy as np
import pytest
import soundfile
from reward_server import serving

from cmi_bench import Song, SongScorer
from cmi_bench.models.signal.model import SignalBaseline

SR = 16000


def tone(hertz, seconds=1.0):
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(int(SR * seconds)) / SR)).astype(np.float32)


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("songs")
    for hertz, seconds in ((200, 1.0), (300, 1.5), (400, 0.7)):
        soundfile.write(folder / f"{hertz}.wav", tone(hertz, seconds), SR, subtype="FLOAT")
    soundfile.write(folder / "500.flac", tone(500), SR)
    (folder / "broken.mp3").write_bytes(b"no audio at all")
    return folder


@pytest.fixture(scope="module")
def served(songs, tmp_path_factory):
    with serving({"signal": SignalBaseline()}, store=tmp_path_factory.mktemp("store"), audio_root=songs) as running:
        yield running


@pytest.fixture(scope="module")
def client(served):
    with served.client() as client:
        yield client


def test_each_form_of_a_song_has_the_same_receipt(client, songs):
    file, reference = songs / "300.wav", songs / "500.flac"
    expected = SongScorer(SignalBaseline()).score(file, text="slow piano", ref_audio=reference)
    parts = {"audio": file.open("rb"), "ref_audio": reference.open("rb")}
    as_form = client.post("/v1/score", files=parts, data={"text": "slow piano"})
    assert as_form.status_code == 200
    receipt = as_form.json()
    assert (receipt["musicality"], receipt["alignment"]) == pytest.approx(expected[1::-1], abs=1e-12)
    assert receipt["audio_sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert receipt["ref_audio_sha256"] == hashlib.sha256(reference.read_bytes()).hexdigest()
    assert (receipt["from_store"], receipt["error"]) == (False, None)
    by_path = {"audio": {"path": "300.wav"}, "ref_audio": {"path": "500.flac"}, "text": "slow piano"}
    assert client.post("/v1/score", json=by_path).json() == receipt | {"from_store": True}


def test_raw_samples_are_the_samples_of_a_file(client, songs):
    samples = np.stack([tone(300, 1.5), tone(200, 1.5)], axis=1)
    answer = client.post(
        "/v1/score",
        content=samples.tobytes(),
        params={"sample_rate": SR, "channels": 2, "text": "slow"},
        headers={"content-type": "application/octet-stream"},
    ).json()
    expected = SongScorer(SignalBaseline()).score(samples, sample_rate=SR, text="slow")
    assert (answer["musicality"], answer["alignment"]) == pytest.approx(expected[1::-1], abs=1e-12)
    assert answer["audio_sha256"] == hashlib.sha256(samples.tobytes()).hexdigest()


def test_a_broken_song_costs_no_other_its_score(client, songs):
    asked = {
        "songs": [
            {"audio": {"part": "one"}, "text": "slow"},
            {"audio": {"part": "broken"}},
            {"audio": {"path": "gone.wav"}},
            {"audio": {"part": "raw", "sample_rate": SR}, "ref_audio": {"part": "one"}},
        ]
    }
    files = {
        "one": (songs / "200.wav").open("rb"),
        "broken": (songs / "broken.mp3").open("rb"),
        "raw": ("raw", tone(250).tobytes()),
    }
    answer = client.post("/v1/score_batch", files=files, data={"request": json.dumps(asked)})
    assert answer.status_code == 200
    receipts = answer.json()["receipts"]
    assert [one["error"] and one["error"]["code"] for one in receipts] == [None, "unreadable_audio", "not_found", None]
    assert "/" not in receipts[1]["error"]["what"]
    scorer = SongScorer(SignalBaseline())
    wanted = scorer.score_batch([Song(songs / "200.wav", "slow"), Song((tone(250), SR), ref_audio=songs / "200.wav")])
    for receipt, score in zip((receipts[0], receipts[3]), wanted, strict=True):
        assert (receipt["musicality"], receipt["alignment"]) == pytest.approx(score[1::-1], abs=1e-12)


def test_health_and_models(client, served):
    assert client.get("/health").json()["state"] == "ready"
    (model,) = client.get("/models").json()["models"]
    assert (model["name"], model["sample_rate"], model["devices"]) == ("signal", 24000, ["cpu"])


def test_the_page_describes_the_api_and_loads_nothing(client, served):
    page = client.get("/docs").text
    described = client.get("/openapi.json").json()
    assert {"/v1/score", "/v1/score_batch", "/health", "/models", "/metrics"} <= described["paths"].keys()
    for path in described["paths"]:
        assert path in page
    assert "Hz: the audio is raw samples" in page
    assert f"{served.address}/v1/score" in page
    assert "<script" not in page
    assert 'src="' not in page
