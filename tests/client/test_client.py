"""The clients against a server on loopback without a model; against the real one in tests/serving."""

import asyncio
import os
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from loopback import hanging_server
from werkzeug import Response
from wire_server import frames, receipt, refused, toy_score, wire_server

from cmi_bench import Song, UserError
from cmi_bench.client import AsyncRewardClient, RewardClient, RewardServerError, ServerFile
from cmi_bench.serving.wire import ErrorCode, Problem, ServerState

TONE = np.sin(np.arange(4000) / 10).astype(np.float32)


@pytest.fixture(scope="module")
def server():
    with wire_server() as found:
        yield found


@pytest.fixture
def client(server):
    server.asked.clear()
    server.faults.clear()
    with RewardClient(server.url, token="") as found:
        yield found


def test_importing_it_needs_neither_torch_nor_pandas_nor_fastapi():
    code = (
        "import sys, cmi_bench.client; print([n for n in ('torch', 'pandas', 'fastapi', 'mlflow') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("form", ["path", "text", "bytes", "array", "pair", "tensor"])
def test_a_song_may_be_a_file_its_bytes_or_samples(client, server, tmp_path, form):
    path = tmp_path / "a song.wav"
    path.write_bytes(b"RIFF of sorts")
    audio = {
        "path": path,
        "text": str(path),
        "bytes": path.read_bytes(),
        "array": TONE,
        "pair": (TONE, 16000),
        "tensor": torch.from_numpy(TONE).requires_grad_(),
    }[form]
    found = client.score(audio, text="slow", lyrics="la", sample_rate=16000)
    (asked,) = server.asked
    (song,) = asked.request.songs
    sent = path.read_bytes() if form in ("path", "text", "bytes") else frames(TONE)
    assert asked.audio == sent
    assert song.audio.sample_rate == (None if sent == path.read_bytes() else 16000)
    assert (song.text, song.lyrics, song.ref_audio) == ("slow", "la", None)
    assert found.musicality == toy_score(sent)
    assert found.alignment is None
    assert found.model.name == "toy"


def test_channels_are_interleaved_and_a_reference_goes_along(client, server):
    stereo = np.stack([TONE, -TONE])
    client.score((stereo, 44100), ref_audio=b"a file")
    (song,) = server.asked[0].request.songs
    assert server.asked[0].audio == frames(stereo.T)
    assert (song.audio.channels, song.audio.sample_rate) == (2, 44100)
    assert song.ref_audio.sample_rate is None


def test_a_file_on_the_server_is_named_and_not_sent(client, server):
    client.score(ServerFile("new/1.flac"), text="slow")
    (asked,) = server.asked
    assert asked.kind == "application/json"
    assert asked.request.songs[0].audio.path == "new/1.flac"


def test_the_model_and_the_token_are_told(server, monkeypatch):
    monkeypatch.setenv("CMI_BENCH_TOKEN", "from the environment")
    server.asked.clear()
    for token in (None, "given", ""):
        with RewardClient(server.url, token=token, model="toy") as client:
            client.score(b"x")
    assert [asked.token for asked in server.asked] == ["Bearer from the environment", "Bearer given", None]
    assert {asked.request.model for asked in server.asked} == {"toy"}


def test_a_batch_is_in_order_and_a_broken_song_costs_no_other_its_score(client, server, monkeypatch):
    broken = receipt(None, error=Problem(code=ErrorCode.UNREADABLE_AUDIO, what="It cannot be decoded."))
    monkeypatch.setitem(server.scores, b"broken", broken)
    songs = [b"one", {"audio": b"broken"}, Song("missing.wav"), Song((TONE, 16000), text="own"), (TONE, -1)]
    found = client.score_batch(songs, text="given")
    assert [one.musicality for one in found] == [toy_score(b"one"), None, None, toy_score(frames(TONE)), None]
    assert [one.error and one.error.what for one in found] == [
        None,
        "It cannot be decoded.",
        "missing.wav: No such file or directory.",
        None,
        "Song 5: the sampling rate -1 is not a whole number above 0.",
    ]
    assert found[2].model == found[0].model
    texts = {asked.audio: asked.request.songs[0].text for asked in server.asked}
    assert (texts[b"one"], texts[frames(TONE)]) == ("given", "own")
    with pytest.raises(RewardServerError, match=r"Song 1: It cannot be decoded\.") as caught:
        client.score(b"broken")
    assert (caught.value.status, caught.value.code) == (422, ErrorCode.UNREADABLE_AUDIO)
    with pytest.raises(UserError, match=r"missing\.wav"):
        client.score_batch([b"one", "missing.wav"], on_error="fail")


def test_a_song_too_large_for_the_server_has_an_error_of_its_own(client, server):
    server.faults.append(refused(ErrorCode.TOO_LARGE, "100 MB are too much.", hint="Send less."))
    first, second = client.score_batch([b"large"]), client.score_batch([b"small"])
    assert first[0].error.code is ErrorCode.TOO_LARGE
    assert first[0].error.hint == "Send less."
    assert second[0].error is None


@pytest.mark.parametrize(
    ("code", "what"),
    [
        (ErrorCode.UNAUTHORIZED, "The token is another one."),
        (ErrorCode.NOT_FOUND, "No model 'x'."),
        (ErrorCode.INVALID, "The request names no model."),
    ],
)
def test_what_every_song_would_meet_ends_the_batch(client, server, code, what):
    server.faults += [refused(code, what, hint="Look again.") for _ in range(8)]
    with pytest.raises(RewardServerError, match="Look again") as caught:
        client.score_batch([b"one", b"two"])
    assert (caught.value.what, caught.value.status) == (what, code.status)


def test_a_busy_server_is_asked_again_after_the_time_that_it_names(client, server):
    server.faults += [
        refused(ErrorCode.BUSY, "Full.", retry_after="0.2"),
        refused(ErrorCode.STOPPING, "Ending.", retry_after="0"),
        Response("<html>Bad gateway</html>", 502, headers={"Retry-After": "0"}),
    ]
    assert client.score(b"one").musicality == toy_score(b"one")
    assert len(server.asked) == 4
    assert server.asked[1].time - server.asked[0].time >= 0.2
    assert {asked.audio for asked in server.asked} == {b"one"}


def test_a_receipt_that_says_busy_is_no_answer(client, server, monkeypatch):
    full = receipt(None, error=Problem(code=ErrorCode.BUSY, what="Full."))
    monkeypatch.setitem(server.scores, b"one", full)
    with RewardClient(server.url, patience=0) as impatient, pytest.raises(RewardServerError, match=r"Full\."):
        impatient.score_batch([b"one"])


def test_patience_has_an_end(server):
    server.faults += [refused(ErrorCode.BUSY, "The queue is full.", retry_after="60") for _ in range(2)]
    server.asked.clear()
    with RewardClient(server.url, patience=30) as client, pytest.raises(RewardServerError, match="queue is full") as e:
        client.score(b"one")
    assert (e.value.status, len(server.asked)) == (429, 1)
    server.faults.clear()


def test_no_more_songs_are_sent_at_once_than_told(monkeypatch):
    with wire_server(seconds=0.02) as server, RewardClient(server.url, concurrency=3) as client:
        found = client.score_batch(b"%d" % index for index in range(12))
        assert [one.musicality for one in found] == [toy_score(b"%d" % index) for index in range(12)]
        assert server.most_at_once == 3


def test_songs_are_made_as_they_are_sent_in_the_callers_thread(client, server):
    made = []

    def songs():
        for index in range(40):
            made.append((threading.current_thread(), index - len(server.asked)))
            yield b"%d" % index

    assert len(client.score_batch(songs())) == 40
    assert {thread for thread, _ in made} == {threading.main_thread()}
    assert max(ahead for _, ahead in made) <= 16
    with pytest.raises(UserError, match="Song 2 has no field 'audoi'"):
        client.score_batch([b"one", {"audoi": b"two"}])


def test_no_songs_have_no_receipts_and_what_makes_them_may_fail(client, server):
    assert client.score_batch([]) == client.rank([]) == []

    def songs():
        yield b"one"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        client.score_batch(songs())


def test_a_server_that_is_not_there_is_said_to_be_so(unused_port):
    with RewardClient(f"http://127.0.0.1:{unused_port}", patience=0) as client:
        for ask in (lambda: client.score(b"x"), client.models, client.health):
            with pytest.raises(RewardServerError, match=r"cannot be reached: .*\n  -> Is the server up") as caught:
                ask()
            assert caught.value.status is None


@pytest.fixture
def unused_port():
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def test_a_server_that_never_answers_is_given_up():
    with (
        hanging_server() as url,
        RewardClient(url, timeout=0.1, patience=0) as client,
        pytest.raises(RewardServerError, match=r"Song 1: .* has not answered within 0\.1 s"),
    ):
        client.score(b"x")


def test_a_server_of_another_kind_is_told_apart(client, server):
    server.faults += [Response("<html>A page</html>"), Response("Nobody here", 404), Response('{"receipts": []}')]
    for message in ("answers something else", "answers 404", "0 receipts for one song"):
        with pytest.raises(RewardServerError, match=message):
            client.score_batch([b"one"])


def test_proxies_of_the_environment_are_not_asked(server, monkeypatch, unused_port):
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{unused_port}")
    with RewardClient(server.url, patience=0) as client:
        assert client.health().state is ServerState.READY


@pytest.mark.parametrize("url", ["", "127.0.0.1:8000", "ftp://host", "http://", "http://127.0.0.1:port", None])
def test_an_address_that_is_none_is_refused_at_once(url):
    with pytest.raises(UserError, match="no address of a server"):
        RewardClient(url)


def test_numbers_that_make_no_sense_are_refused():
    for options in ({"concurrency": 0}, {"timeout": 0}, {"patience": -1}):
        with pytest.raises(UserError):
            RewardClient("http://127.0.0.1:1", **options)


def test_a_text_beyond_the_limit_is_not_sent(client, server):
    with pytest.raises(UserError, match="Song 1: text: String should have at most"):
        client.score(b"x", text="x" * 100_001)
    assert not server.asked


def test_best_of_n(client, server):
    songs = [b"%d" % index for index in range(8)]
    order = sorted(range(8), key=lambda index: -toy_score(songs[index]))
    best = client.rank(songs, text="slow", top_k=3)
    assert [(one.rank, one.index, one.value) for one in best] == [
        (rank, index, toy_score(songs[index])) for rank, index in enumerate(order[:3], start=1)
    ]
    assert (best[0].song.audio, best[0].song.text) == (songs[order[0]], "slow")
    with pytest.raises(UserError, match="toy does not judge alignment"):
        client.rank(songs, by="alignment")
    with pytest.raises(UserError, match="Did you mean musicality"):
        client.rank(songs, by="musicalit")


def test_health_models_and_waiting(client, server, monkeypatch):
    assert client.models().models[0].name == "toy"
    assert client.wait_until_ready(5).state is ServerState.READY
    monkeypatch.setattr(server, "state", ServerState.LOADING)
    assert client.health().state is ServerState.LOADING
    with pytest.raises(RewardServerError, match="is loading"):
        client.wait_until_ready(0)


def test_in_an_event_loop_after_another(server):
    client = AsyncRewardClient(server.url)

    async def score():
        async with client:
            one, *rest = await asyncio.gather(client.score(b"one"), client.score_batch([b"two", b"three"]))
            return [one, *rest[0]]

    for _ in range(2):
        assert [found.musicality for found in asyncio.run(score())] == list(map(toy_score, (b"one", b"two", b"three")))


def test_the_blocking_client_works_inside_of_a_running_loop(client):
    async def notebook():
        return client.score(b"one")

    assert asyncio.run(notebook()).musicality == toy_score(b"one")


def test_a_client_survives_pickling_and_forking(client):
    client.score(b"one")
    assert pickle.loads(pickle.dumps(client)).score(b"two").musicality == toy_score(b"two")
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.write(writer, repr(client.score(b"three").musicality).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert float(os.read(reader, 100)) == toy_score(b"three")


def test_a_token_is_shown_nowhere():
    client = RewardClient("http://me:secret@127.0.0.1:9", token="secret", patience=0)
    assert "secret" not in repr(client)
    with pytest.raises(RewardServerError) as caught:
        client.score(b"x")
    assert "secret" not in str(caught.value)
