"""The checks that are not of the data: environment, login, disk, model, tracking."""

import os
import shutil
import sqlite3
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hydra import compose, initialize_config_dir

from cmi_bench.config import checked
from cmi_bench.doctor import environment
from cmi_bench.doctor.data import check_checkpoint
from cmi_bench.doctor.environment import check_disk, check_environment, check_login, check_tracking
from cmi_bench.doctor.finding import Finding, Remedies, Severity, as_json, as_table, verdict_of, worst
from cmi_bench.download import state
from cmi_bench.hydra_setup import register
from cmi_bench.types import Clip
from cmi_bench.utils.console import some_of

PROJECT = Path(__file__).parents[2]
PARITY = PROJECT / "tests/data/parity/cmi_rm"
REMEDIES = Remedies(["task=doctor", "model=cmi_rm", "+device=cpu"], Path("/data"), False)


def config(*words):
    register(project=PROJECT)
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        return checked(compose("config", ["tracking=none", *words]))


def by_subject(findings):
    return {one.subject: one for one in findings}


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


def test_a_checkpoint_that_is_whole():
    found = by_subject(check_checkpoint(config(f"model.checkpoint={PARITY}/sa_mean"), REMEDIES))
    assert {one.status for one in found.values()} == {Severity.OK}
    assert "tensors" in found["weights"].found
    assert "CmiRM, 24000 Hz, sha256 " in found["building it"].found


@pytest.fixture
def clips(tmp_path):
    found = []
    for number in range(4):
        file = tmp_path / f"{number}.wav"
        soundfile.write(file, 0.05 * np.random.default_rng(number).normal(size=24_000), 24_000)
        found.append(Clip(f"{number}:a", file, ("slow drone", "house groove", "piano", "music")[number]))
    return found


def test_a_model_that_tells_clips_apart(clips):
    found = by_subject(check_checkpoint(config(f"model.checkpoint={PARITY}/sa_mean"), REMEDIES, clips))
    assert found["telling songs apart"].status is Severity.OK
    assert "musicality of 4 clips has standard deviation" in found["telling songs apart"].found


def test_a_model_that_collapsed_is_named(clips):
    found = by_subject(check_checkpoint(config("model=constant"), REMEDIES, clips))["telling songs apart"]
    assert found.status is Severity.WARNING
    assert "100% have the same score" in found.found
    assert "trained weights" in found.fix


def test_clips_that_cannot_be_scored_are_said(clips, tmp_path):
    (tmp_path / "0.wav").write_bytes(b"no audio")
    found = by_subject(check_checkpoint(config("model=signal"), REMEDIES, clips))["telling songs apart"]
    assert found.status is Severity.WARNING
    assert "4 clips could not be scored" in found.found


@pytest.fixture
def checkpoint(tmp_path):
    """A copy to damage."""
    shutil.copytree(PARITY, tmp_path / "bundle", ignore=shutil.ignore_patterns("audio", "ca_*", "sa_[!m]*"))
    return tmp_path / "bundle/sa_mean"


@pytest.mark.parametrize(
    ("damage", "subject", "says"),
    [
        (lambda file: file.write_bytes(file.read_bytes()[:-100]), "weights", "is cut off"),
        (lambda file: file.write_bytes(b"PK zip"), "weights", "no .safetensors file"),
        (lambda file: file.with_name("config.yaml").write_text("model: {}"), "files", "model.model_name"),
        (
            lambda file: file.with_name("config.yaml").write_text(
                file.with_name("config.yaml").read_text().replace("mlp_dim: 48", "mlp_dim: 24")
            ),
            "building it",
            "shape",
        ),
    ],
    ids=["cut off", "no safetensors", "no configuration", "another model's configuration"],
)
def test_a_checkpoint_that_is_damaged(checkpoint, damage, subject, says):
    damage(checkpoint / "model.safetensors")
    found = by_subject(check_checkpoint(config(f"model.checkpoint={checkpoint}"), REMEDIES))[subject]
    assert found.status is Severity.PROBLEM
    assert says in found.found
    assert found.fix


def test_a_checkpoint_that_was_not_fetched(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    (found,) = check_checkpoint(config(), REMEDIES)
    assert found.status is Severity.PROBLEM
    assert "HaiwenXia/CMI-RM/model.safetensors" in found.found
    assert found.fix == "python run.py task=prepare model=cmi_rm"


def test_weights_that_do_not_lie_at_the_top(tmp_path):
    words = ["model=songeval_rm", f"model.muq={PARITY}/muq", "model.hidden_state=1"]
    found = by_subject(check_checkpoint(config(*words, f"model.checkpoint={PARITY}/songeval"), REMEDIES))
    assert {one.status for one in found.values()} == {Severity.OK}
    assert "14 tensors" in found["weights"].found
    (missing,) = check_checkpoint(config(*words, f"model.checkpoint={tmp_path}/SongEval"), REMEDIES)
    assert (missing.status, missing.subject) == (Severity.PROBLEM, "building it")
    assert "task=prepare model=songeval_rm" in missing.fix


def test_weights_that_may_have_two_names(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    (found,) = check_checkpoint(config("model=clap"), REMEDIES)
    assert "laion/clap-htsat-unfused/config.json" in found.found


@pytest.mark.parametrize("model", ["cmi_rm", "muq_mulan", "clap", "audiobox"])
def test_a_path_that_is_not_there(model):
    (found,) = check_checkpoint(config(f"model={model}", "model.checkpoint=/nonexistent/checkpoint"), REMEDIES)
    assert found.status is Severity.PROBLEM
    assert "/nonexistent/checkpoint" in found.found


def test_a_class_that_is_not_there():
    (found,) = check_checkpoint(config("model=custom", "model.class_path=nowhere:Model"), REMEDIES)
    assert found.status is Severity.PROBLEM
    assert "There is no module 'nowhere'" in found.found


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


def test_what_is_said_of_it():
    findings = [Finding("a", "b", Severity.OK, "fine"), Finding("a", "c", Severity.WARNING, "odd [1]", "fix")]
    assert worst(findings) is Severity.WARNING
    assert worst([]) is Severity.OK
    assert verdict_of(findings) == "A run would work. 1 warning."
    assert verdict_of([*findings, Finding("d", "e", Severity.PROBLEM, "bad", "fix")]).startswith(
        "A run would not do: 1 problem"
    )
    assert '"status": "warning"' in as_json(findings)
    assert as_table(findings).row_count == 2
    assert some_of(["a", "b", "c", "d"]) == "a, b, c and 1 more"
