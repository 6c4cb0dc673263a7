"""A reward server among bad clients and bad models: each mistake has its status, nothing hangs, nothing is left."""

import contextlib
import http.client
import io
import json
import math
import threading
import time

import numpy as np
import pytest
from reward_server import serving
from scipy.io import wavfile

from cmi_bench.errors import UserError
from cmi_bench.scoring import stages
from cmi_bench.serving.listen import PatientProtocol
from cmi_bench.serving.wire import Limits

SR = 8000
LOUD = 0.9
"""Songs that begin so loud are those on which models fail."""


class Meter:
    """Musicality is the song's length in seconds, alignment that of the text; waits where it is told to."""

    sr = SR
    audio_input = "waveform"

    def __init__(self, *, most=100, error=None, answer=None, identity="meter"):
        self.identity = identity
        self.most = most
        self.error = error
        self.answer = answer
        self.batches = []
        self.gate = threading.Event()
        self.gate.set()

    def score_batch(self, inputs, batch_size, max_dur):
        self.batches.append([len(one.audio) / SR for one in inputs])
        self.gate.wait(timeout=60)
        if len(inputs) > self.most:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
        if self.error and any(one.audio[0] > LOUD / 2 for one in inputs):
            raise self.error
        scores = np.array([[len(one.text), len(one.audio) / SR] for one in inputs])
        return scores if self.answer is None else self.answer(scores)


def wav(seconds, first=0.0):
    samples = np.full(int(seconds * SR), 0.1, dtype=np.float32)
    samples[0] = first
    file = io.BytesIO()
    wavfile.write(file, SR, samples)  # libsndfile writes the time into such a file
    return file.getvalue()


def song(client, seconds=1.0, text="", **fields):
    return client.post("/v1/score", files={"audio": ("a.wav", wav(seconds))}, data={"text": text} | fields)


def batch(client, *songs, **fields):
    files = {f"s{number}": (f"{number}.wav", one) for number, one in enumerate(songs)}
    asked = {"songs": [{"audio": {"part": name}} for name in files]} | fields
    return client.post("/v1/score_batch", files=files, data={"request": json.dumps(asked)})


def until(check):
    """Wait until something is so, which the test is about."""
    for _ in range(3000):
        if check():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come to that")


def in_background(work):
    """Do work in a thread; returns where its result will be."""
    found = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()

    def result():
        thread.join(timeout=60)
        return found[0]

    return result


def held(model, client):
    """Let a model begin on a song and wait there; returns where the song's answer will be, and what ends the wait."""
    model.gate.clear()
    before = len(model.batches)
    answer = in_background(lambda: song(client, 0.5))
    until(lambda: len(model.batches) > before)
    return answer


def answered(connection):
    """Return the status and the body of an answer that comes on a connection."""
    response = http.client.HTTPResponse(connection)
    response.begin()
    return response.status, json.loads(response.read())


def counted(client, name):
    lines = client.get("/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


@pytest.fixture(scope="module")
def meter():
    return Meter()


@pytest.fixture(scope="module")
def served(meter, tmp_path_factory):
    limits = Limits(max_bytes=150_000, max_seconds=3.0, max_songs=4)
    with serving({"meter": meter}, limits=limits, queue_songs=4, body_seconds=0.3) as running:
        yield running


@pytest.fixture(scope="module")
def client(served):
    with served.client() as client:
        yield client


@pytest.fixture(autouse=True)
def nothing_is_left(request):
    """After each test no song is on its way, and no file of a request is there."""
    yield
    if "served" in request.fixturenames:
        served = request.getfixturevalue("served")
        until(lambda: len(served.service.queue) == 0)
        until(lambda: [path.name for path in served.service.spool.folder.iterdir()] == ["lock"])


FORM = {"content-type": "multipart/form-data; boundary=x"}
PART = b'--x\r\nContent-Disposition: form-data; name="audio"; filename="a"\r\n\r\n'
TEXT = b'--x\r\nContent-Disposition: form-data; name="text"\r\n\r\n'
JSON = {"content-type": "application/json"}
RAW = {"content-type": "application/octet-stream"}
POST = b"POST /v1/score HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    ("path", "headers", "body", "status", "code"),
    [
        ("score", {}, b"", 415, "unsupported_media"),
        ("score", {"content-type": "text/plain"}, b"x", 415, "unsupported_media"),
        ("score", {"content-type": "application/x-python-pickle"}, b"x", 415, "unsupported_media"),
        ("score_batch", RAW, b"x", 415, "unsupported_media"),
        ("score", {"content-type": "multipart/form-data"}, PART, 400, "bad_request"),
        ("score", FORM, b"", 400, "bad_request"),
        ("score", FORM, b"no form at all", 400, "bad_request"),
        ("score", FORM, PART + b"cut off", 400, "bad_request"),
        ("score", FORM, TEXT + b"\xff\r\n" + PART + b"\r\n--x--\r\n", 400, "bad_request"),
        ("score", FORM, TEXT + b"slow\r\n--x--\r\n", 422, "invalid"),
        ("score", FORM, TEXT + b"slow\r\n" + TEXT + b"fast\r\n--x--\r\n", 422, "invalid"),
        ("score", FORM, PART + b"\r\n--x--\r\n", 422, "unreadable_audio"),
        ("score", FORM, PART.replace(b"audio", b"song") + b"a\r\n--x--\r\n", 422, "invalid"),
        ("score", FORM, TEXT.replace(b"text", b"txt") + b"slow\r\n" + PART + b"a\r\n--x--\r\n", 422, "invalid"),
        ("score", JSON, b"{", 400, "bad_request"),
        ("score", JSON, b"\xff\xfe", 400, "bad_request"),
        ("score", JSON, b"[]", 422, "invalid"),
        ("score", JSON, b"[" * 50_000, 400, "bad_request"),
        ("score", JSON, b'{"audio": {"part": "a"}}', 422, "invalid"),
        ("score", JSON, b'{"audio": {"path": "a.wav"}}', 422, "invalid"),
        ("score", JSON, b'{"audio": {"path": "http://127.0.0.1/a.wav"}}', 422, "invalid"),
        ("score", RAW, bytes(8), 422, "invalid"),
        ("score?sample_rate=8000", RAW, bytes(7), 422, "unreadable_audio"),
        ("score?sample_rate=8000", RAW, b"", 422, "unreadable_audio"),
        ("score?sample_rate=8000&channels=0", RAW, bytes(8), 422, "invalid"),
        ("score?sample_rate=8000", RAW, np.array([0.1, math.nan], "<f4").tobytes(), 422, "unreadable_audio"),
        ("score_batch", JSON, b'{"songs": []}', 422, "invalid"),
        ("score_batch", FORM, TEXT + b"slow\r\n--x--\r\n", 422, "invalid"),
        ("score_batch", FORM, PART + b"a\r\n" + TEXT.replace(b"text", b"request")
         + b'{"songs": [{"audio": {"part": "b"}}]}\r\n--x--\r\n', 422, "invalid"),
        ("nowhere", {}, b"", 404, "not_found"),
    ],
)  # fmt: skip
def test_what_is_no_request_is_told_so(client, path, headers, body, status, code):
    answer = client.post(f"/v1/{path}", content=body, headers=headers)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["code"] == code
    assert error["what"].endswith(".")
    assert "cmi-bench-serve" not in answer.text


def test_the_wrong_method_and_what_is_no_http(client, served):
    answer = client.get("/v1/score")
    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "method_not_allowed")
    with served.connection() as connection:
        connection.sendall(b"hello\r\n\r\n")
        status, answer = answered(connection)
    assert (status, answer["error"]["code"]) == (400, "bad_request")


def test_what_is_too_large(client):
    def pieces():
        yield from [bytes(50_000)] * 4

    query = "/v1/score?sample_rate=8000"
    answers = [
        client.post(query, content=bytes(150_004), headers=RAW),
        client.post(query, content=pieces(), headers=RAW),
        song(client, 3.1),
        batch(client, *[wav(0.1)] * 5),
    ]
    assert [(one.status_code, one.json()["error"]["code"]) for one in answers] == [(413, "too_large")] * 4
    assert "3 s are taken" in answers[2].json()["error"]["what"]
    (long, short) = batch(client, wav(3.1), wav(0.2)).json()["receipts"]
    assert (long["error"]["code"], short["musicality"]) == ("too_large", 0.2)


def test_a_full_queue_says_when_to_come_again(client, served, meter):
    first = held(meter, client)
    others = [in_background(lambda seconds=seconds: song(client, seconds)) for seconds in (1.0, 1.1, 1.2)]
    until(lambda: len(served.service.queue) == 4)
    refused = song(client, 1.3)
    health = client.get("/health")
    meter.gate.set()
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "busy")
    assert int(refused.headers["retry-after"]) >= 1
    assert (health.status_code, health.json()["state"], health.json()["queued"]) == (200, "ready", 4)
    assert [one().status_code for one in (first, *others)] == [200] * 4
    assert song(client, 1.3).status_code == 200


def test_songs_of_clients_that_have_gone_are_not_scored(client, served, meter):
    first = held(meter, client)
    before = counted(client, 'cmi_bench_songs_total{model="meter",result="dropped"}')
    body = b'--x\r\nContent-Disposition: form-data; name="audio"; filename="a"\r\n\r\n' + wav(1.7) + b"\r\n--x--\r\n"
    head = POST + f"Content-Type: {FORM['content-type']}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with served.connection() as connection:
        connection.sendall(head + body)
        until(lambda: len(served.service.queue) == 2)
    until(lambda: len(served.service.queue) == 1)
    with served.connection() as connection:
        connection.sendall(head + body[:100])  # and one that goes in the middle of its body
    meter.gate.set()
    assert first().status_code == 200
    assert [1.7] not in meter.batches
    until(lambda: counted(client, 'cmi_bench_songs_total{model="meter",result="dropped"}') == before + 1)


def test_a_body_that_drips_is_told_so(client, served):
    with served.connection() as connection:
        connection.sendall(POST + b"Content-Type: application/json\r\nContent-Length: 50\r\n\r\n{")
        status, answer = answered(connection)
    assert (status, answer["error"]["code"]) == (408, "too_slow")


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"POST /v1/score HTT",
        b"GET /health HTTP/1.1\r\nHost: x\r\n\r\nGET /he",
        b"POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n{",
    ],
)
def test_who_says_nothing_more_is_let_go(served, monkeypatch, begun):
    monkeypatch.setattr(PatientProtocol, "patience", 0.2)
    with served.connection() as connection:
        connection.sendall(begun)
        with contextlib.suppress(ConnectionResetError):
            while connection.recv(4096):
                pass


def test_a_connection_serves_one_request_after_another(served, monkeypatch):
    monkeypatch.setattr(PatientProtocol, "patience", 0.2)
    with served.client() as client:
        for _ in range(2):
            assert song(client, 0.3).status_code == 200
            time.sleep(0.3)
        assert counted(client, "process_open_fds") > 0


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(Meter(error=RuntimeError("no such sound")), id="raises"),
        pytest.param(
            Meter(answer=lambda scores: np.where(scores[:, 1:] == 0.75, math.nan, scores)), id="nothing for one"
        ),
        pytest.param(Meter(answer=lambda scores: np.where(scores[:, 1:] == 0.75, math.inf, scores)), id="infinite"),
        pytest.param(Meter(answer=lambda scores: scores[scores[:, 1] != 0.75]), id="too few"),
        pytest.param(Meter(answer=lambda scores: None if (scores == 0.75).any() else scores), id="nothing"),
    ],
)
def test_a_model_that_fails_on_a_song_fails_on_that_song_only(model, tmp_path):
    with serving({"meter": model}, store=tmp_path) as served, served.client() as client:
        receipts = batch(client, wav(0.5), wav(0.75, LOUD), wav(1.0)).json()["receipts"]
        assert [one["musicality"] for one in receipts] == [0.5, None, 1.0]
        assert [one["error"] and one["error"]["code"] for one in receipts] == [None, "model_failed", None]
        alone = client.post("/v1/score", files={"audio": wav(0.75, LOUD)})
        assert (alone.status_code, alone.json()["error"]["code"]) == (500, "model_failed")
        assert song(client, 0.5).json()["from_store"]
        assert counted(client, 'cmi_bench_failures_total{code="model_failed"}') == 2


def test_a_gpu_that_computes_nothing_more_ends_the_server(monkeypatch):
    """Its songs are answered; a model that fails on one of them is not asked again."""
    monkeypatch.setattr(stages, "is_gpu_lost", lambda error: True)
    model = Meter(error=RuntimeError("CUDA error: an illegal memory access was encountered"))
    with serving({"meter": model}, patience=0.2) as served, served.client() as client:
        found = batch(client, wav(1.0), wav(1.0, LOUD)).json()
        assert [one["error"]["code"] for one in found["receipts"]] == ["failed", "failed"]
        assert "computes nothing more" in str(served.failures)
    assert len(model.batches) == 1


def test_what_does_not_fit_into_memory_is_halved_and_remembered():
    model = Meter(most=2)
    with serving({"meter": model}, patience=0.2) as served, served.client() as client:
        lengths = [0.1 * number for number in range(1, 9)]
        for text in ("", "again"):
            songs = {f"s{number}": wav(seconds) for number, seconds in enumerate(lengths)}
            asked = {"songs": [{"audio": {"part": name}, "text": text} for name in songs]}
            answer = client.post("/v1/score_batch", files=songs, data={"request": json.dumps(asked)})
            assert [one["musicality"] for one in answer.json()["receipts"]] == pytest.approx(lengths)
        sizes = list(map(len, model.batches))
        assert sizes[:4] == [8, 4, 2, 2]
        assert max(sizes[sizes.index(4) + 5 :]) == 2
        assert counted(client, "cmi_bench_out_of_memory") == 3


def test_several_models_are_asked_by_name(tmp_path):
    models = {"short": Meter(), "wide": Meter(answer=lambda scores: 10 * scores, identity="wide")}
    with serving(models, store=tmp_path) as served, served.client() as client:
        assert [model["name"] for model in client.get("/models").json()["models"]] == ["short", "wide"]
        found = [song(client, 0.5, model=name).json() for name in models]
        assert [one["musicality"] for one in found] == [0.5, 5.0]
        assert [one["model"]["name"] for one in found] == ["short", "wide"]
        unnamed, unknown = song(client), song(client, model="wise")
        assert (unnamed.status_code, unknown.status_code) == (422, 404)
        assert "This server has: short, wide." in unknown.json()["error"]["hint"]


def test_a_token_lets_in(tmp_path):
    with serving({"meter": Meter()}, token="pässwörd-x") as served:
        for headers, status in [
            ({}, 401),
            ({"authorization": "Bearer other"}, 401),
            ({"authorization": "Basic pässwörd-x".encode()}, 401),
            ({"authorization": "Bearer pässwörd-x".encode("latin-1")}, 200),
        ]:
            with served.client(headers=headers) as client:
                answers = [song(client), client.get("/models"), client.get("/metrics")]
                assert [one.status_code for one in answers] == [status] * 3
                assert client.get("/health").status_code == 200
                if status == 401:
                    assert answers[0].headers["www-authenticate"] == "Bearer"


def test_models_that_load_and_models_that_do_not():
    ready = threading.Event()

    def slowly():
        ready.wait(timeout=60)
        return Meter()

    with serving({"meter": slowly}, is_awaited=False) as served, served.client() as client:
        assert (client.get("/health").status_code, client.get("/health").json()["state"]) == (503, "loading")
        answer = song(client)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "not_ready")
        assert int(answer.headers["retry-after"]) >= 1
        ready.set()
        until(lambda: client.get("/health").status_code == 200)
        assert song(client).status_code == 200

    def never():
        raise UserError("There is no such checkpoint.")

    with pytest.raises(UserError, match="no such checkpoint"), serving({"meter": never}):
        raise AssertionError("it is not ready")


def test_a_stopped_server_answers_what_it_has_taken():
    model = Meter()
    threads = threading.active_count()
    with serving({"meter": model}, patience=0.05) as served, served.client() as client, served.client() as other:
        assert other.get("/health").status_code == 200
        first = held(model, client)
        others = [in_background(lambda seconds=seconds: song(client, seconds)) for seconds in (1.0, 1.1)]
        until(lambda: len(served.service.queue) == 3)
        with served.connection() as connection:
            connection.sendall(POST + b"Content-Type: application/json\r\nContent-Length: 50\r\n\r\n{")
            until(lambda: served.service.queue._receiving == 1)
            served.server.end()
            assert answered(connection)[0] == 503
        until(lambda: served.service.state == "stopping")
        model.gate.set()
        assert [one().json()["musicality"] for one in (first, *others)] == [0.5, 1.0, 1.1]
        served.thread.join(timeout=60)
        assert not served.thread.is_alive()
        with pytest.raises(OSError, match="refused"):
            served.connection()
    until(lambda: threading.active_count() == threads)


def test_a_failure_of_the_servers_own_is_an_answer_too(served, client, monkeypatch, caplog):
    monkeypatch.setattr(served.service, "check_ready", lambda: 1 / 0)
    answer = song(client)
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "failed")
    assert "ZeroDivisionError" in caplog.text
    monkeypatch.undo()
    assert song(client).status_code == 200
