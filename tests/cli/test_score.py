"""`cmi-bench score`: the benchmark's own scores, in one store with it."""

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cached_entries import entries

from cmi_bench import Song, load_model

BUNDLE = Path(__file__).parents[1] / "data" / "parity" / "cmi_rm"
COMMAND = Path(sys.executable).with_name("cmi-bench")


def records(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_scores_are_those_of_the_python_interface(songs, cli):
    done = cli("score", "clean.wav", "takes", "--text", "slow", "--ref", "takes/b.wav", "--json")
    assert done.exit_code == 0
    names = ["clean.wav", "takes/a.flac", "takes/b.wav"]
    wanted = load_model("signal").score_batch([Song(songs / name, "slow", "", songs / "takes/b.wav") for name in names])
    assert records(done) == [
        {"audio": name, "musicality": one.musicality, "alignment": one.alignment, "alignment_note": "", "error": ""}
        for name, one in zip(names, wanted, strict=True)
    ]


def test_an_ensembles_scores_have_their_spread_beside_them(songs, cli):
    given = [
        "clean.wav",
        "broken.mp3",
        "--text",
        "slow",
        "--model=custom",
        "--set",
        "model.class_path=opinions:Opinions",
    ]
    sound, broken = records(cli("score", *given, "--json"))
    assert list(sound)[1:5] == ["musicality", "alignment", "musicality_spread", "alignment_spread"]
    assert (sound["musicality_spread"], sound["alignment_spread"]) == (2.0, 0.0)
    assert broken["musicality_spread"] is None
    table = cli("score", *given)
    assert f"{sound['musicality']:.4f} ±2.0000" in table.stdout
    assert "± is the standard deviation over the ensemble's 3 members." in table.stdout


def test_a_broken_song_is_shown_and_the_others_are_scored(songs, cli):
    done = cli("score", "clean.wav", "broken.mp3")
    assert done.exit_code == 3
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["song", "musicality", "alignment"] in lines
    assert ["broken.mp3", "failed", "failed"] in lines
    assert any(line[:1] == ["clean.wav"] and float(line[1]) > 0 for line in lines)
    assert "Cannot decode broken.mp3" in done.stdout
    assert cli("score", "broken.mp3").exit_code == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--device", "gpu"], "There is no device 'gpu'"),
        (["--device", "cuda:1"], "Asked for cuda:1; this machine has no CUDA device"),
        (["--model", "cmi_rm", "--checkpoint", "./gone"], "There is no checkpoint ./gone"),
        (["--model", "custom", "--set", "model.class_path=gone:Mine"], "There is no module 'gone'"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_loaded(songs, cli, monkeypatch, caplog, words, says):
    monkeypatch.setattr("cmi_bench.utils.distributed._has_gpu_driver", lambda: False)
    caplog.set_level("INFO", "cmi_bench")
    done = cli("score", "clean.wav", *words)
    assert done.exit_code == 1
    assert done.stderr.startswith(says)
    assert "Loading" not in caplog.text


def test_what_the_model_does_not_judge(songs, cli, tmp_path, monkeypatch):
    source = "class Mine:\n    sr = 8000\n    def score_batch(self, inputs, batch_size, max_dur):\n"
    (tmp_path / "deaf_for_test.py").write_text(source + "        return [[float('nan'), 1.0] for _ in inputs]\n")
    monkeypatch.syspath_prepend(tmp_path)
    words = ["--model=custom", "--set", "model.class_path=deaf_for_test:Mine"]
    assert ["clean.wav", "1.0000", "n/a"] in [
        line.split() for line in cli("score", "clean.wav", *words).stdout.splitlines()
    ]
    (record,) = records(cli("score", "clean.wav", *words, "--json"))
    assert record == {"audio": "clean.wav", "musicality": 1.0, "alignment": None, "alignment_note": "", "error": ""}
    done = cli("rank", "takes", *words, "--by", "alignment")
    assert done.exit_code == 1
    assert "custom does not judge alignment" in done.stderr
    assert "Rank by musicality" in done.stderr


def test_an_alignment_with_nothing_is_said_to_be_one(songs, cli):
    said = "lignment has nothing to compare with: no text, lyrics or reference"
    (songs / "r.jsonl").write_text('{"audio": "clean.wav", "text": " "}\n{"audio": "takes/b.wav", "lyrics": "la"}\n')
    assert f"A{said} (of 1 of 2 songs).\n" in cli("score", "--requests", "r.jsonl").stdout
    done = cli("rank", "--requests", "r.jsonl", "--by", "alignment", "--json")
    assert done.exit_code == 0
    assert {one["audio"]: one["alignment_note"] for one in records(done)} == {
        "clean.wav": f"a{said}",
        "takes/b.wav": "",
    }
    assert cli("rank", "clean.wav", "--by", "mean").stdout.count(f"A{said}.\n") == 1


@pytest.mark.parametrize("text", ["5% \"loud\", C# = {x} ${y} [a,b] \\ 'z'", "naïve 歌", "--", "-x", "@file"])
def test_free_text_arrives_as_it_is(songs, cli, text, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "cmi_bench.models.signal.model.prompt_agreements", lambda text, clip: seen.append(text) or [1.0]
    )
    assert cli("score", "clean.wav", f"--text={text}").exit_code == 0
    (songs / "prompt.txt").write_text(text + "\n", encoding="utf-8")
    cli("score", "clean.wav", "--text-file", "prompt.txt", "--no-cache", cache=False)
    assert cli("score", "takes/a.flac", "--text-file", "prompt.txt").exit_code == 0
    assert cli("score", "takes/b.wav", "--text-file", "-", stdin=text).exit_code == 0
    assert seen == [text] * 3


def test_a_song_that_is_not_there_costs_the_others_nothing(songs, cli):
    done = cli("score", "nope.mp3", "clean.wav", "--json")
    assert done.exit_code == 3
    first, second = records(done)
    assert first["audio"] == "nope.mp3"
    assert "No such file" in first["error"]
    assert (first["musicality"], second["error"]) == (None, "")
    assert second["musicality"] > 0
    ranked = records(cli("rank", "nope.mp3", "clean.wav", "--json"))
    assert [(one["rank"], one["audio"]) for one in ranked] == [(1, "clean.wav"), (None, "nope.mp3")]


def test_resume_false_scores_afresh(songs, cli, tmp_path, monkeypatch):
    source = "class Counts:\n    sr = 8000\n    identity = 'counts'\n    asked = 0\n"
    source += "    def score_batch(self, inputs, batch_size, max_dur):\n        Counts.asked += len(inputs)\n"
    (tmp_path / "counts_for_test.py").write_text(source + "        return [[1.0, Counts.asked] for _ in inputs]\n")
    monkeypatch.syspath_prepend(tmp_path)
    words = ["score", "clean.wav", "--json", "--model=custom", "--set", "model.class_path=counts_for_test:Counts"]
    assert [records(cli(*words))[0]["musicality"] for _ in range(2)] == [1.0, 1.0]
    assert records(cli(*words, "--set", "resume=false"))[0]["musicality"] == 2.0
    assert records(cli(*words))[0]["musicality"] == 2.0  # what was scored afresh is kept


def test_after_a_change_of_the_models_source_the_same_command_scores_anew(songs, cli, tmp_path, monkeypatch):
    source = "class Mine:\n    sr = 8000\n    identity = 'mine'\n    asked = 0\n"
    source += "    def score_batch(self, inputs, batch_size, max_dur):\n        open('asked.txt', 'a').write('x')\n"
    source += "        return [[0.0, 1.0] for _ in inputs]\n"
    monkeypatch.syspath_prepend(tmp_path)

    def musicality(source):
        (tmp_path / "changes_for_test.py").write_text(source)
        sys.modules.pop("changes_for_test", None)
        importlib.invalidate_caches()
        words = ["--model=custom", "--set", "model.class_path=changes_for_test:Mine"]
        return records(cli("score", "clean.wav", *words, "--json"))[0]["musicality"]

    assert musicality(source) == musicality(source + "# a comment\n") == 1.0
    assert (songs / "asked.txt").read_text() == "x"
    assert musicality(source.replace("1.0", "3.25")) == 3.25
    assert musicality(source) == 1.0  # the old scores are still there
    assert (songs / "asked.txt").read_text() == "xx"


@pytest.mark.slow
def test_one_clip_one_score(run_here, cli, tiny, tmp_path):
    """CMI-RM in Lightning's loop, by the command (with and without its cache), and by the Python interface."""
    shutil.copy(BUNDLE / "audio" / "b_44k_stereo_3s.flac", tiny / "pam" / "0.wav")
    cache, words = tmp_path / "cache", ["max_dur=2", "limit=2"]
    run_here(
        "model=cmi_rm", f"model.checkpoint={BUNDLE}/sa_mean", f"data.root={tiny}",
        f"data.jsonl={tiny}/all_test.jsonl", f"cache.dir={cache}", "tracking=none", "metrics.resamples=0",
        "metrics.report=false", "workers=0", "+device=cpu", *words, folder=tmp_path / "run",
    )  # fmt: skip
    rows = [json.loads(line) for line in (tmp_path / "run" / "results.jsonl").read_text().splitlines()]
    requests = tiny / "requests.jsonl"
    wanted = [
        {"audio": row["audio-path"], "text": row.get("prompt", ""), "lyrics": row.get("lyrics", ""),
         "ref_audio": row.get("ref-audio-path", "")} for row in rows
    ]  # fmt: skip
    requests.write_text("".join(json.dumps(one) + "\n" for one in wanted))
    expected = [(row["predicted_musicality"], row["predicted_text-music alignment"]) for row in rows]
    model = ["--model", "cmi_rm", "--checkpoint", f"{BUNDLE}/sa_mean", "--device", "cpu", "--max-dur", "2"]
    before = entries(cache / "scores")
    assert before
    for keeping in (["--cache-dir", cache], ["--no-cache"]):
        done = cli("score", "--requests", requests, *model, *keeping, "--json", cache=False)
        assert done.exit_code == 0
        found = [json.loads(line) for line in done.stdout.splitlines()]
        assert [(one["musicality"], one["alignment"]) for one in found] == [
            pytest.approx(scores, abs=1e-4) for scores in expected
        ]
    assert entries(cache / "scores") == before
    scorer = load_model("cmi_rm", checkpoint=BUNDLE / "sa_mean", device="cpu", max_dur=2)
    direct = [
        scorer.score(
            tiny / one["audio"], text=one["text"], lyrics=one["lyrics"],
            ref_audio=tiny / one["ref_audio"] if one["ref_audio"] else None,
        )
        for one in wanted
    ]  # fmt: skip
    assert [(one.musicality, one.alignment) for one in direct] == [
        pytest.approx(scores, abs=1e-4) for scores in expected
    ]


SLOW_MODEL = """
import pathlib, time
class Slow:
    sr = 8000
    audio_input = "path"
    identity = "slow"
    def score_batch(self, inputs, batch_size, max_dur):
        with pathlib.Path("asked.txt").open("a") as file:
            file.writelines(one.audio + "\\n" for one in inputs)
        if pathlib.Path("wait").exists() and pathlib.Path("asked.txt").read_text().count("\\n") > 1:
            time.sleep(60)
        return [[0.0, 1.0] for _ in inputs]
"""


@pytest.mark.slow
def test_a_command_that_was_stopped_goes_on(songs, tmp_path):
    (songs / "slow_for_test.py").write_text(SLOW_MODEL)
    (songs / "wait").touch()
    words = ["rank", "clean.wav", "takes", "--model", "custom", "--set", "model.class_path=slow_for_test:Slow"]
    words += ["--set", "batch_size=1", "--cache-dir", str(tmp_path / "cache")]
    environment = os.environ | {"PYTHONPATH": str(songs)}
    process = subprocess.Popen([COMMAND, *words], stderr=subprocess.PIPE, text=True, env=environment)
    asked = songs / "asked.txt"
    deadline = time.monotonic() + 60
    while not asked.exists() or asked.read_text().count("\n") < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Stopped. The scores made so far are kept" in said
    (songs / "wait").unlink()
    subprocess.run([COMMAND, *words], check=True, env=environment, capture_output=True)
    names = asked.read_text().split()
    assert len(names) == 4  # of three songs only the one that was being scored is asked for again
    assert len(set(names)) == 3
