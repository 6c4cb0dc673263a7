"""OpenRLHF's remote reward: the requests that its trainers make, and the answers that they read."""

import base64

import pytest
from reward_server import serving

from cmi_bench import SongScorer
from cmi_bench.models.signal.model import SignalBaseline

SR = 16000


@pytest.fixture(scope="module")
def client(songs):
    with serving({"signal": SignalBaseline()}, audio_root=songs, token="open") as running, running.client() as client:
        client.auth = ("any", "open")
        yield client


@pytest.fixture(scope="module")
def scores(songs):
    scorer = SongScorer(SignalBaseline())
    return [scorer.score(songs / f"{hertz}.flac", text="slow", lyrics="la") for hertz in (200, 300)]


def embedded(path):
    return f"data:audio/flac;base64,{base64.b64encode(path.read_bytes()).decode()}"


def test_queries_are_files_in_the_request_or_on_the_server(client, songs, scores):
    asked = {"query": [embedded(songs / "200.flac"), "300.flac\n"], "prompts": ["slow", "slow"], "labels": ["la", "la"]}
    answer = client.post("/get_reward", params={"labels": "lyrics"}, json=asked).json()
    musicality = pytest.approx([score.musicality for score in scores], abs=1e-9)
    assert answer["rewards"] == answer["scores"] == musicality
    assert answer["extra_logs"] == {"failed": [0, 0]}
    mean = client.post("/get_reward", params={"by": "mean", "weight": 0.25, "labels": "lyrics"}, json=asked).json()
    expected = [0.25 * score.musicality + 0.75 * score.alignment for score in scores]
    assert mean["rewards"] == pytest.approx(expected, abs=1e-9)
    alignment = pytest.approx([score.alignment for score in scores], abs=1e-9)
    assert mean["extra_logs"] == {"failed": [0, 0], "musicality": musicality, "alignment": alignment}


def test_what_trainers_send_besides(client):
    # One of several servers may have nothing to do; the first versions sent queries alone; labels may be anything.
    assert client.post("/get_reward", json={"query": [], "prompts": [], "labels": []}).json()["rewards"] == []
    assert len(client.post("/get_reward", json={"query": "200.flac"}).json()["rewards"]) == 1
    asked = {"query": ["200.flac"], "prompts": [None], "labels": [{"answer": 3}]}
    assert client.post("/get_reward", json=asked).status_code == 200


def test_a_song_that_fails_has_the_reward_that_the_address_names_or_none(client, songs):
    broken = {"query": ["200.flac", "gone.flac", "data:audio/flac;base64,AAA", "data:audio/flac,no"]}
    both = client.post("/get_reward", params={"failed": -1, "by": "mean"}, json=broken).json()["extra_logs"]
    assert both["musicality"][1:] == both["alignment"][1:] == [-1, -1, -1]
    answer = client.post("/get_reward", params={"failed": -1}, json=broken)
    assert answer.json()["rewards"][1:] == [-1, -1, -1]
    assert answer.json()["extra_logs"] == {"failed": [0, 1, 1, 1]}
    for place, word in ((1, "gone.flac"), (2, "base64 cannot be read"), (3, "not in base64")):
        refused = client.post("/get_reward", json={"query": [broken["query"][place]]})
        assert refused.status_code in (404, 422)
        error = refused.json()["error"]
        assert "Query 1" in error["what"] and word in error["what"]
        assert "failed=-1" in error["hint"]


@pytest.mark.parametrize(
    ("params", "body", "word"),
    [
        ({"by": "loudness"}, {"query": []}, "by"),
        ({"weight": 2}, {"query": []}, "weight"),
        ({"failed": "nan"}, {"query": []}, "failed"),
        ({"reward": 1}, {"query": []}, "reward"),
        ({"model": "other"}, {"query": ["200.flac"]}, "other"),
        ({}, {"queries": []}, "query"),
        ({}, {"query": ["200.flac"], "prompts": []}, "1 queries, and 0 prompts"),
        ({}, {"query": ["200.flac"] * 65}, "65 songs"),
    ],
)
def test_mistakes(client, params, body, word):
    answer = client.post("/get_reward", params=params, json=body)
    assert 400 <= answer.status_code < 500
    assert word in answer.json()["error"]["what"]


def test_the_token_may_be_in_the_address(client, songs):
    assert client.post("/get_reward", json={"query": []}).status_code == 200
    assert client.post("/get_reward", json={"query": []}, auth=("open", "sesame")).status_code == 401
