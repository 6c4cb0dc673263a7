"""A deliberately damaged copy of the mini benchmark: each kind of damage is named, with what fixes it."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from command_line import configured, run_command
from own_tables import write_song, write_table
from registries import restored_registries

import cmi_bench.data.manifest as update
from cmi_bench.data.manifest import examine as examine_one
from cmi_bench.data.manifest import read_manifest
from cmi_bench.doctor import examine
from cmi_bench.doctor.finding import Severity

DAMAGED = ["data=mini", "data.synthesise=false", "model=signal", "tracking=none"]


@pytest.fixture(scope="session")
def whole(mini_root, tmp_path_factory):
    """A copy of the mini benchmark whose audio was decoded already."""
    root = tmp_path_factory.mktemp("whole") / "data"
    shutil.copytree(mini_root, root, ignore=shutil.ignore_patterns(".*", "*.parquet"))
    found(root)
    assert len(read_manifest(root / "manifest.parquet").records) == 155
    return root


@pytest.fixture
def root(whole, tmp_path):
    """A copy to damage."""
    return Path(shutil.copytree(whole, tmp_path / "data"))


def found(root, *words):
    """What the doctor finds, without what is as it should be: {(area, subject): finding}."""
    said = [*DAMAGED, f"data.root={root}", f"data.jsonl={root}/all_test.jsonl", *words]
    findings = examine(configured(*said), root.parent, ["task=doctor", *said])
    return {(one.area, one.subject): one for one in findings if one.status is not Severity.OK}


def lines(root):
    return [json.loads(line) for line in (root / "all_test.jsonl").read_text().splitlines()]


def write_lines(root, rows):
    (root / "all_test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def change_row(root, number, **fields):
    rows = lines(root)
    write_lines(root, [row | fields if index == number else row for index, row in enumerate(rows, start=1)])


def line_of(root, source):
    return next(number for number, row in enumerate(lines(root), start=1) if source in row["source"])


WAV = "MusicEval_data/test_audio/3.wav"
MP3 = "MusicArena_data/audio_files/01-2025JULAUG/battle-01-a.mp3"


def cut(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])


def write(file, samples, sr=16000):
    soundfile.write(file, np.asarray(samples, dtype=np.float32), sr, subtype="FLOAT")


def broken_json(root):
    with (root / "all_test.jsonl").open("a") as file:
        file.write('{"source": "PAM (music)",\n')


def fewer_rows(root):
    write_lines(
        root, [row for row in lines(root) if "MusicEval" not in row["source"] or "/3.wav" not in row["audio-path"]]
    )


def same_row_twice(root):
    text = (root / "all_test.jsonl").read_text().splitlines()
    (root / "all_test.jsonl").write_text("\n".join([*text, text[-1]]) + "\n")


def unlike_upstream(root):
    (root / ".prepare").mkdir()
    promised = {WAV: {"bytes": (root / WAV).stat().st_size, "digest": f"sha256:{'0' * 64}"}}
    (root / ".prepare/musiceval.json").write_text(json.dumps({"files": promised}))


def clip_and_its_copy(root):
    (root / MP3.replace("-a.mp3", "-b.mp3")).write_bytes((root / MP3).read_bytes())


def no_text(root):
    (root / "all_test.jsonl").write_bytes(b"\xff\xfe")


def without_labels(root):
    change_row(root, line_of(root, "MusicEval"), musicality="")


def with_odd_confidence(root):
    change_row(root, line_of(root, "cmi-arena"), **{"confidence_preference-musicality": "9"})


def with_odd_label(root):
    change_row(root, line_of(root, "Music Arena"), preference="left")


def with_path_outside(root):
    change_row(root, line_of(root, "PAM"), **{"audio-path": "../somewhere.wav"})


def compared_with_itself(root):
    row = lines(root)[line_of(root, "Music Arena") - 1]
    change_row(root, line_of(root, "Music Arena"), audio2=row["audio-path"])


DAMAGES = {
    "no rows at all": (lambda root: (root / "all_test.jsonl").unlink(), ("rows", "file"), "There is no "),
    "rows that are no text": (no_text, ("rows", "file"), "cannot be read"),
    "a line that is no JSON": (broken_json, ("rows", "lines"), "line 126, column"),
    "a label of another spelling": (with_odd_label, ("rows", "lines"), "'left' is not a preference"),
    "rows that are missing": (fewer_rows, ("rows", "MusicEval"), "24 rows instead of 25"),
    "a source nobody knows": (lambda root: change_row(root, 1, source="ours"), ("rows", "sources"), "source ours"),
    "a row twice": (same_row_twice, ("rows", "duplicates"), "126"),
    "a row without labels": (without_labels, ("rows", "labels"), "1 rows have no label"),
    "a confidence out of range": (with_odd_confidence, ("rows", "confidences"), "none of 1, 1.5"),
    "a path that leads out": (with_path_outside, ("rows", "paths"), "outside of the data root"),
    "a clip against itself": (compared_with_itself, ("rows", "pairs"), "compare a clip with itself"),
    "a clip against its copy": (clip_and_its_copy, ("audio", "pairs"), "compare a clip with its copy"),
    "a file that is missing": (lambda root: (root / WAV).unlink(), ("audio", "files"), "1 of 155 files are missing"),
    "an empty file": (lambda root: (root / WAV).write_bytes(b""), ("audio", "decoding"), f"{WAV} (Cannot decode"),
    "an error page": (lambda root: (root / MP3).write_text("<html>"), ("audio", "decoding"), f"{MP3} (Cannot decode"),
    "a WAV cut off": (lambda root: cut(root / WAV), ("audio", "length"), WAV),
    "an MP3 cut off": (lambda root: cut(root / MP3), ("audio", "length"), MP3),
    "silence": (lambda root: write(root / WAV, np.zeros(32000)), ("audio", "silence"), WAV),
    "samples that are no numbers": (lambda root: write(root / WAV, [np.nan] * 32000), ("audio", "samples"), WAV),
    "no more than a click": (lambda root: write(root / WAV, np.ones(300) * 0.1), ("audio", "too short"), WAV),
    "less than a second": (lambda root: write(root / WAV, np.ones(9000) * 0.1), ("audio", "short"), WAV),
    "another content than upstream": (unlike_upstream, ("audio", "content"), WAV),
    "the same file twice": (
        lambda root: shutil.copy(root / WAV, (root / WAV).with_name("4.wav")), ("audio", "copies"), "3.wav = "
    ),
    "an interrupted download": (
        lambda root: (root / f"{MP3}.partial").write_bytes(b"x"), ("disk", "downloads"), "battle-01-a.mp3.partial"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("damage", "where", "says"), DAMAGES.values(), ids=DAMAGES.keys())
def test_each_kind_of_damage_is_named(root, damage, where, says):
    damage(root)
    findings = found(root)
    assert where in findings, findings
    assert says in findings[where].found
    assert findings[where].fix


def test_what_a_run_may_read_is_no_damage(root):
    with_path_outside(root)
    shutil.copy(root / WAV, root.parent / "somewhere.wav")
    assert ("rows", "paths") not in found(root, "data.allow_outside=true")
    change_row(root, line_of(root, "PAM"), **{"audio-path": str(root / WAV)})
    assert ("rows", "paths") not in found(root)


def test_an_undamaged_copy_has_none(whole):
    assert found(whole) == {}


def test_only_what_changed_is_decoded_again(root, monkeypatch):
    examined = []
    monkeypatch.setattr(
        update, "examine", lambda root, path, *, decode: examined.append(path) or examine_one(root, path, decode=decode)
    )
    found(root)
    assert examined == []
    cut(root / WAV)
    found(root)
    assert examined == [WAV]


def test_what_mends_it_has_the_words_that_the_user_said(root):
    (root / WAV).unlink()
    missing = found(root, "subset=musiceval")["audio", "files"]
    assert missing.fix == (
        "python run.py task=prepare data=mini data.synthesise=false model=signal"
        f" data.root={root} data.jsonl={root}/all_test.jsonl subset=musiceval"
    )


def test_a_file_that_is_broken_upstream_is_said_to_be(root):
    (root / WAV).write_bytes(b"no audio")
    (root / ".prepare").mkdir()
    digest = "sha256:" + hashlib.sha256(b"no audio").hexdigest()
    (root / ".prepare/musiceval.json").write_text(json.dumps({"files": {WAV: {"bytes": 8, "digest": digest}}}))
    broken = found(root)["audio", "decoding"]
    assert broken.status is Severity.WARNING
    assert "upstream" in broken.fix
    assert "on_error=record" in broken.fix


def test_the_task_says_it_all_and_fails(root):
    for name in ("silence", "an MP3 cut off", "a source nobody knows", "a row twice", "a line that is no JSON"):
        DAMAGES[name][0](root)
    command = ["task=doctor", *DAMAGED, f"data.root={root}"]
    command += [f"data.jsonl={root}/all_test.jsonl", f"hydra.run.dir={root.parent}/run"]
    done = run_command(*command)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    for word in ("problem", "warning", "what to do", "task=prepare", "A run would not do"):
        assert word in done.stdout
    as_json = run_command(*command, "doctor.format=json")
    assert as_json.returncode == 1
    report = json.loads(as_json.stdout)
    assert report["status"] == "problem"
    assert {"silence", "length", "lines", "duplicates", "sources"} <= {one["subject"] for one in report["findings"]}


def test_the_task_ends_well_where_all_is_well(whole, tmp_path):
    command = ["task=doctor", *DAMAGED, f"data.root={whole}"]
    command += [f"data.jsonl={whole}/all_test.jsonl", f"hydra.run.dir={tmp_path}/run"]
    done = run_command(*command)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "A run would work" in done.stdout


def test_own_songs_are_looked_at_and_nothing_is_to_be_fetched(tmp_path):
    write_song(tmp_path / "a.wav")
    rows = [{"song": f"{name}.wav", "rating": rating} for name, rating in (("a", 1), ("gone", 2), ("a", "good"))]
    write_table(tmp_path / "mine.csv", rows)
    words = ("data=custom", f"data.csv={tmp_path}/mine.csv", f"data.manifest={tmp_path}/manifest.parquet")
    with restored_registries():
        findings = examine(configured("task=doctor", "model=random", *words), tmp_path, words)
    found = {(one.area, one.subject): one for one in findings}
    assert "line 4: 'good' is not a number" in found["rows", "mine"].found
    assert "1 of 2 files are missing" in found["audio", "files"].found
    assert found["audio", "files"].fix == "Put your songs where the table says, or set data.root"
    assert "nothing is to be fetched" in found["login", "Hugging Face hub"].found
