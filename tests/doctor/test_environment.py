"""Checks of what a run stands on: packages, devices, login, disk, tracking store."""

import os
import shutil
import sqlite3
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import metadata

from findings import REMEDIES, by_subject, config

from cmi_bench.doctor import environment
from cmi_bench.doctor.environment import check_disk, check_environment, check_login, check_tracking
from cmi_bench.doctor.finding import Severity
from cmi_bench.download import state


def test_an_environment_that_is_right():
    found = by_subject(check_environment(config("model=signal", "+device=cpu")))
    assert {one.status for one in found.values()} == {Severity.OK}
    assert "soundfile" in found["decoders"].found


def test_packages_that_are_missing_or_old(monkeypatch):
    real = metadata.version

    def version(name):
        if name == "pandas":
            raise metadata.PackageNotFoundError(name)
        return "0.1" if name == "mlflow" else real(name)

    monkeypatch.setattr(environment, "version", version)
    found = by_subject(check_environment(config("model=signal")))["packages"]
    assert found.status is Severity.PROBLEM
    assert "mlflow is 0.1, needed is >=3.13" in found.found
    assert "pandas is not installed" in found.found


def test_a_gpu_that_is_not_there(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    found = by_subject(check_environment(config("model=signal", "+device=cuda:1")))["devices"]
    assert found.status is Severity.PROBLEM
    assert "Asked for cuda:1" in found.found


def test_the_login(monkeypatch):
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    (needed,) = check_login(is_needed=True)
    assert (needed.status, needed.fix) == (Severity.WARNING, "hf auth login")
    (not_needed,) = check_login(is_needed=False)
    assert not_needed.status is Severity.OK
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "hf_secret")
    (there,) = check_login(is_needed=True)
    assert there.status is Severity.OK
    assert "hf_secret" not in there.found


def test_a_full_disk(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(state.shutil, "disk_usage", lambda _folder: usage._replace(free=5))
    found = by_subject(check_disk(tmp_path / "data", tmp_path, REMEDIES))
    assert found["outputs"].status is Severity.PROBLEM
    assert "5 bytes free" in found["outputs"].found


def test_a_folder_that_cannot_be_written_to(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    found = by_subject(check_disk(tmp_path, tmp_path, REMEDIES))
    assert (found["data root"].status, found["outputs"].status) == (Severity.WARNING, Severity.PROBLEM)


def tracked(uri):
    (found,) = check_tracking(config("tracking=mlflow", f"tracking.uri={uri}"))
    return found


def test_an_mlflow_store(tmp_path):
    assert tracked(f"sqlite:///{tmp_path}/new.db").status is Severity.OK
    with sqlite3.connect(tmp_path / "right.db") as store:
        store.execute("CREATE TABLE runs (id)")
    assert "0 runs" in tracked(f"sqlite:///{tmp_path}/right.db").found
    (tmp_path / "wrong.db").write_text("no database, but long enough to be looked at as one" * 20)
    assert "is not a database" in tracked(f"sqlite:///{tmp_path}/wrong.db").found
    sqlite3.connect(tmp_path / "empty.db").execute("CREATE TABLE other (id)")
    assert "no such table" in tracked(f"sqlite:///{tmp_path}/empty.db").found
    assert "no store that MLflow still takes" in tracked(f"{tmp_path}/mlruns").found


class Healthy(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()

    def log_message(self, *args):
        pass


def test_an_mlflow_server():
    server = HTTPServer(("127.0.0.1", 0), Healthy)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    assert tracked(address).status is Severity.OK
    assert "answers 404" in tracked(f"{address}/wrong").found
    server.shutdown()
    server.server_close()
    gone = tracked(address.replace("http://", "http://me:secret@"))
    assert gone.status is Severity.WARNING
    assert "cannot be reached" in gone.found
    assert "secret" not in gone.found
