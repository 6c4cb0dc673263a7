"""`task=prepare` against servers that answer as the real ones do."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import PROJECT
from fake_hub import Fault
from tiny_dataset import assert_complete, expected, files_below, jsonl, rows

from cmi_bench.data.manifest import read_manifest
from cmi_bench.errors import UserError


def test_everything_comes_and_the_second_run_asks_nobody(hub, root, prepare, capsys):
    prepare()
    assert_complete(root, hub)
    shown = capsys.readouterr().out
    for name in ("PAM", "MusicEval", "Music Arena", "CMI-Pref", "free"):
        assert name in shown
    assert "All there: 16 audio files" in shown
    assert not [request for request in hub.log if "not-in-the-rows" in request.path]
    # One request for each file: what it must be is known from the listing.
    fetched = [request.path for request in hub.log if "/resolve/" in request.path]
    assert len(fetched) == len(set(fetched)) == 4 + 5 + 1
    hub.log.clear()
    prepare()
    assert hub.log == []
    assert "To fetch" not in capsys.readouterr().out
    assert not list(root.rglob("*.partial"))
    assert not list(root.rglob("*.zip")) + list(root.rglob("*.parquet"))[1:]


def test_the_manifest_knows_what_has_come(root, prepare):
    prepare()
    records = read_manifest(root / "manifest.parquet").records
    assert len(records) == 16
    assert all(record.was_decoded and not record.is_silent and record.error is None for record in records.values())


def test_only_the_subset_and_the_rows_that_are_asked_for(hub, root, prepare):
    prepare("subset=cmi_pref", "limit=1")
    assert files_below(root).keys() == {
        "all_test.jsonl", "manifest.parquet", "cmi-pref/gen-audio/0a.mp3", "cmi-pref/gen-audio/0b.mp3"
    }  # fmt: skip
    assert not hub.requests_for("MusicEval") + hub.requests_for("zenodo") + hub.requests_for("music-arena")


def test_training_data_come_where_they_are_asked_for(hub, root, prepare):
    prepare("data.with_training=true")
    assert_complete(root, hub, training=True)
    hub.log.clear()
    prepare("data.with_training=true")
    assert hub.log == []


def test_a_file_that_is_broken_upstream_is_not_fetched_for_ever(hub, root, prepare, caplog):
    hub.repos["dataset", "HaiwenXia/cmi-pref"]["gen-audio/0a.mp3"] = b"no audio" * 100
    prepare()
    assert "cmi-pref/gen-audio/0a.mp3" in caplog.text
    hub.log.clear()
    prepare()
    assert hub.log == []


def test_rows_that_name_what_nobody_has(hub, root, prepare):
    hub.files["data/all_test.jsonl"] = jsonl([rows()[0] | {"audio-path": "elsewhere/1.mp3"}])
    with pytest.raises(UserError, match=r"Nobody here knows where to get elsewhere/1\.mp3"):
        prepare()


def test_mini_is_its_own_source(hub, prepare, mini_root, capsys):
    prepare(
        "data=mini",
        f"data.root={mini_root}",
        f"data.jsonl={mini_root}/all_test.jsonl",
        f"data.manifest={mini_root}/m.parquet",
    )
    assert hub.log == []
    assert "All there: " in capsys.readouterr().out


PARITY = PROJECT / "tests/data/parity/cmi_rm"


def command(hub, root, tmp_path, *more):
    return [
        sys.executable,
        str(PROJECT / "run.py"),
        *quoted(hub.prepare_words(root)),
        f"hydra.run.dir={tmp_path}/run",
        *more,
    ]


def quoted(words):
    return [word.replace(" ", "\\ ") for word in words]


def run(environment, *arguments):
    return subprocess.run(command(*arguments), env=environment, capture_output=True, text=True, check=False)


def wait_for(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGINT], ids=lambda kill: kill.name)
def test_killed_in_the_middle_and_taken_up_again(hub, root, tmp_path, environment, kill):
    hub.faults = [Fault("/content", seconds_per_chunk=0.3)]  # the archive takes its time, the rest is soon there
    process = subprocess.Popen(
        command(hub, root, tmp_path, "model=signal"), env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    partial = root / ".prepare/pam/human_eval.zip.partial"
    last = root / "cmi-pref/ref-audio/r.mp3"
    wait_for(lambda: partial.is_file() and partial.stat().st_size > 8000 and last.exists())
    wait_for(lambda: len(hub.requests_for("/cdn/")) == 10)
    process.send_signal(kill)
    stderr = process.communicate(timeout=60)[1].decode()
    if kill == signal.SIGINT:
        assert process.returncode == 130
        assert "Stopped." in stderr
        assert "Traceback" not in stderr
    there = partial.stat().st_size
    assert 0 < there < len(hub.record["human_eval.zip"])
    assert not (root / "human_eval").exists()
    complete = set(root.rglob("*.mp3"))
    hub.log.clear()
    hub.faults.clear()
    done = run(environment, hub, root, tmp_path, "model=signal")
    assert done.returncode == 0, done.stderr
    for path, content in expected(hub).items():
        assert content is None or (root / path).read_bytes() == content
    assert [request.range for request in hub.requests_for("/content")] == [f"bytes={there}-"]
    again = {request.path.rpartition("/")[2] for request in hub.requests_for("/cdn/")}
    assert not again & {path.name for path in complete}


def put_checkpoint_upstream(hub):
    """The small CMI-RM of the parity bundle, as four repositories that name one another."""
    names = {"muq-mulan": "OpenX/MuQ-MuLan", "muq": "OpenX/MuQ", "xlm-roberta": "xlm/roberta"}

    def renamed(file):
        text = (PARITY / file).read_text()
        for folder, repo in names.items():
            text = text.replace(f'"{folder}"', f'"{repo}"').replace(f"model_name: {folder}\n", f"model_name: {repo}\n")
        return text.encode()

    hub.repos["model", "HaiwenXia/CMI-RM"] = {
        "config.yaml": renamed("sa_mean/config.yaml"),
        "model.safetensors": (PARITY / "sa_mean/model.safetensors").read_bytes(),
        "README.md": b"a card",
    }
    for folder, repo in names.items():
        files = {path.name: path for path in (PARITY / folder).iterdir()}
        hub.repos["model", repo] = {
            name: renamed(f"{folder}/{name}") if name == "config.json" else path.read_bytes()
            for name, path in files.items()
        }


@pytest.mark.slow
def test_the_checkpoint_comes_too_and_can_be_built_without_a_network(hub, root, tmp_path, environment):
    put_checkpoint_upstream(hub)
    hub.faults = [Fault("/cdn/HaiwenXia/CMI-RM/model.safetensors", cut_after=50_000, times=1)]
    done = run(environment, hub, root, tmp_path, "model=cmi_rm", "subset=pam")
    assert done.returncode == 0, done.stderr
    assert "CMI-RM, model.safetensors" in done.stdout
    weights = [request.range for request in hub.requests_for("CMI-RM/model.safetensors") if request.method == "GET"]
    assert weights.count(None) <= 2  # its address, and its first part
    assert any(range_ for range_ in weights)
    hub.log.clear()
    again = run(environment, hub, root, tmp_path, "model=cmi_rm", "subset=pam")
    assert again.returncode == 0, again.stderr
    assert hub.log == []
    (blob,) = Path(environment["HF_HOME"], "hub/models--HaiwenXia--CMI-RM/snapshots").glob("*/model.safetensors")
    blob.write_bytes(blob.read_bytes()[:-1000])
    fixed = run(environment, hub, root, tmp_path, "model=cmi_rm", "subset=pam")
    assert fixed.returncode == 0, fixed.stderr
    assert blob.read_bytes() == hub.repos["model", "HaiwenXia/CMI-RM"]["model.safetensors"]
    words = [word for word in quoted(hub.prepare_words(root)) if not word.startswith(("task=", "sources."))]
    hub.log.clear()
    doctor = subprocess.run(
        [sys.executable, str(PROJECT / "run.py"), *words, "task=doctor", "doctor.format=json", "subset=pam",
         "data.name=small", f"hydra.run.dir={tmp_path}/doctor"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert doctor.returncode == 0, doctor.stdout
    assert {one["subject"] for one in json.loads(doctor.stdout)["findings"]} >= {"weights", "building it", "files"}
    assert hub.log == []  # the doctor asks nobody


@pytest.mark.slow
def test_nothing_of_it_needs_torch(hub, root, tmp_path, environment):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch/__init__.py").write_text("raise ImportError('torch is not for task=prepare')")
    put_checkpoint_upstream(hub)
    done = run(environment | {"PYTHONPATH": str(tmp_path)}, hub, root, tmp_path, "subset=pam")
    assert done.returncode == 0, done.stderr
    assert Path(environment["HF_HOME"], "hub/models--HaiwenXia--CMI-RM").is_dir()


@pytest.mark.slow
def test_mistakes_get_one_message(hub, root, tmp_path, environment):
    hub.token = "hf_right"
    done = run(environment, hub, root, tmp_path, "model=signal")
    assert done.returncode == 1
    assert "hf auth login" in done.stderr
    assert "Traceback" not in done.stderr
    assert "To fetch" not in done.stdout
