"""What a server answers: refusals get one message with what helps, temporary ones are waited for."""

import contextlib
import socket
import threading
import time
from typing import NamedTuple

import pytest
from fake_hub import Fault
from tiny_dataset import jsonl, rows

from cmi_bench.download import http
from cmi_bench.download.sources import ZENODO
from cmi_bench.errors import UserError

ARENA = "MusicArena_data/audio_files/01-2025JULAUG/1b.mp3"


class Refusal(NamedTuple):
    faults: list[Fault]
    says: str
    hint: str


NOW = {"Retry-After": "0"}


UNKNOWN = {"X-Error-Code": "RepoNotFound"}


GATED = {"X-Error-Code": "GatedRepo"}


REFUSALS = {
    "rows gone": Refusal([Fault("all_test.jsonl", 404)], "it was changed upstream", "sources.rows=https://"),
    "record gone": Refusal([Fault("records/10737388", 404)], "it was changed upstream", "sources.zenodo=https://"),
    "archive gone": Refusal([Fault("/content", 410)], "it was changed upstream", "sources.zenodo=https://"),
    "repository gone": Refusal([Fault("music-arena", 404, UNKNOWN)], "without a login (404)", "hf auth login"),
    "file gone": Refusal([Fault("cdn/datasets/HaiwenXia", 404)], "files could not be had", "HF_ENDPOINT=https://"),
    "conditions": Refusal([Fault("cmi-pref", 403, GATED)], "accepted its conditions", "datasets/HaiwenXia/cmi-pref"),
    "file refused": Refusal([Fault("cdn/datasets/HaiwenXia", 403)], "without a login (403)", "hf auth login"),
    "too many": Refusal([Fault("cdn/", 429, NOW)], "asks for fewer requests (429", "jobs=2"),
    "too many listings": Refusal([Fault("/api/datasets/BAAI", 429, NOW)], "for fewer requests (429", "again later"),
    "an hour": Refusal([Fault("records/", 429, {"Retry-After": "3600"})], "for fewer requests (429", "again later"),
    "down": Refusal([Fault("/content", 503)], "does not work at the moment (503", "where it stopped"),
    "no json": Refusal([Fault("records/10737388", 200)], "answers something that is no JSON", "sources.zenodo"),
}  # fmt: skip


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS.keys())
def test_a_refusal_that_lasts_gets_one_message(hub, prepare, refusal):
    hub.faults = refusal.faults
    with pytest.raises(UserError) as error:
        prepare()
    assert refusal.says in error.value.what
    assert refusal.hint in error.value.hint


def test_a_server_that_asks_for_patience_gets_it(hub, root, prepare, monkeypatch, caplog):
    waits = []
    monkeypatch.setattr(http, "pause", lambda _stop, seconds: waits.append(seconds))
    later = {"Retry-After": "7"}
    hub.faults = [Fault("/api/datasets/BAAI", 429, later, times=1), Fault("/content", 429, later, times=2)]
    hub.faults += [Fault("records/10737388", 503, times=1, method="GET"), Fault("1b.mp3", 500, times=1)]
    hub.faults += [Fault("1a.mp3", 429, {"RateLimit": '"resolvers";r=0;t=55'}, times=1)]  # as the hub says it
    caplog.set_level("INFO")
    prepare()
    assert sorted(waits) == [http.FIRST_WAIT, http.FIRST_WAIT, 7, 7, 7, 55]
    assert "Waiting 7 s" in caplog.text
    assert (root / ARENA).exists()
    assert (root / ARENA.replace("1b", "1a")).exists()


def test_no_network(hub, prepare, monkeypatch):
    with pytest.raises(UserError, match=r"server of the rows' files cannot be reached") as error:
        prepare("sources.rows=http://127.0.0.1:1")
    assert "HTTPS_PROXY" in error.value.hint
    with pytest.raises(UserError, match="The Hugging Face hub cannot be reached") as error:
        prepare("sources.hub=http://127.0.0.1:1")
    assert "HF_ENDPOINT" in error.value.hint
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="HF_HUB_OFFLINE forbids it"):
        prepare()


def test_passwords_in_addresses_are_not_shown(hub, prepare):
    with pytest.raises(UserError) as error:
        prepare("sources.rows=http://me:secret@127.0.0.1:1/x")
    assert "secret" not in str(error.value)


def test_redirects_in_circles(hub, prepare):
    hub.faults = [Fault("all_test.jsonl", 302, {"Location": "/raw/data/all_test.jsonl"})]
    with pytest.raises(UserError, match="rows' files cannot be reached: Exceeded maximum allowed redirects"):
        prepare()
    assert len(hub.log) < 30  # once round and no more
    hub.log.clear()
    hub.faults = [Fault("/api/datasets/BAAI", 302, {"Location": "/api/datasets/BAAI/MusicEval"})]
    hub.files["data/all_test.jsonl"] = jsonl(rows())
    with pytest.raises(UserError, match=r"hub cannot be reached: .*[Rr]edirect"):
        prepare("subset=musiceval")


@pytest.mark.parametrize("what", ["all_test.jsonl", "records/10737388", "/api/datasets/BAAI", "/cdn/datasets/BAAI"])
def test_a_server_that_never_answers(hub, prepare, monkeypatch, what):
    monkeypatch.setattr(http, "RESPONSE_SECONDS", 0.1)
    monkeypatch.setattr("cmi_bench.download.hub.LISTING_SECONDS", 0.1)
    hub.faults = [Fault(what, silent=True)]
    with pytest.raises(UserError, match=r"cannot be reached: no answer within 0\.1 s") as error:
        prepare("subset=musiceval" if "BAAI" in what else "subset=pam")
    assert "goes on where it stopped" in error.value.hint


def test_a_server_that_drips_its_headers(monkeypatch):
    monkeypatch.setattr(http, "RESPONSE_SECONDS", 0.2)
    monkeypatch.setattr(http, "FIRST_WAIT", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as server, http.open_client(1) as client:

        def drip():
            with contextlib.suppress(OSError):
                connection, _ = server.accept()
                for byte in b"HTTP/1.1 200 OK" + b"x" * 1000:
                    connection.send(bytes([byte]))
                    time.sleep(0.05)

        threading.Thread(target=drip, daemon=True).start()
        with pytest.raises(UserError, match="Zenodo cannot be reached"):
            http.get_json(client, f"http://127.0.0.1:{server.getsockname()[1]}/", ZENODO)
