"""`cmi-bench score`."""

import csv
import io
import json

import pytest

from cmi_bench import Song, load_model


def records(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_scores_are_those_of_the_python_interface(songs, cli):
    done = cli("score", "clean.wav", "takes", "--text", "slow", "--ref", "takes/b.wav", "--json")
    assert done.exit_code == 0
    names = ["clean.wav", "takes/a.flac", "takes/b.wav"]
    wanted = load_model("signal").score_batch([Song(songs / name, "slow", "", songs / "takes/b.wav") for name in names])
    assert records(done) == [
        {"audio": name, "musicality": one.musicality, "alignment": one.alignment, "error": ""}
        for name, one in zip(names, wanted, strict=True)
    ]


def test_a_broken_song_is_shown_and_the_others_are_scored(songs, cli):
    done = cli("score", "clean.wav", "broken.mp3")
    assert done.exit_code == 3
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["song", "musicality", "alignment"] in lines
    assert ["broken.mp3", "failed", "failed"] in lines
    assert any(line[:1] == ["clean.wav"] and float(line[1]) > 0 for line in lines)
    assert "Cannot decode broken.mp3" in done.stdout
    assert cli("score", "broken.mp3").exit_code == 1


def test_what_the_model_does_not_judge(songs, cli, tmp_path, monkeypatch):
    source = "class Mine:\n    sr = 8000\n    def score_batch(self, inputs, batch_size, max_dur):\n"
    (tmp_path / "deaf_for_test.py").write_text(source + "        return [[float('nan'), 1.0] for _ in inputs]\n")
    monkeypatch.syspath_prepend(tmp_path)
    words = ["--model=custom", "--set", "model.class_path=deaf_for_test:Mine"]
    assert ["clean.wav", "1.0000", "n/a"] in [
        line.split() for line in cli("score", "clean.wav", *words).stdout.splitlines()
    ]
    (record,) = records(cli("score", "clean.wav", *words, "--json"))
    assert record == {"audio": "clean.wav", "musicality": 1.0, "alignment": None, "error": ""}
    done = cli("rank", "takes", *words, "--by", "alignment")
    assert done.exit_code == 1
    assert "custom does not judge alignment" in done.stderr
    assert "Rank by musicality" in done.stderr


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


CSV = 'audio,text,take,ref_audio\nclean.wav,"slow, calm",7,takes/b.wav\ngone.wav,,8,\n'
JSONL = (
    '{"audio": "clean.wav", "text": "slow, calm", "take": 7, "ref_audio": "takes/b.wav"}\n\n'
    '{"audio": "gone.wav", "text": null, "take": 8}\n'
)


@pytest.mark.parametrize(("name", "content"), [("r.csv", "\ufeff" + CSV), ("r.jsonl", JSONL)])
def test_requests_from_a_file(songs, cli, tmp_path, monkeypatch, name, content):
    (songs / name).write_text(content, encoding="utf-8")
    monkeypatch.chdir(tmp_path)  # their paths are relative to the file
    done = cli("score", "--requests", songs / name, "--json")
    assert done.exit_code == 3
    first, second = records(done)
    assert (first["text"], str(first["take"])) == ("slow, calm", "7")
    expected = load_model("signal").score(songs / "clean.wav", text="slow, calm", ref_audio=songs / "takes/b.wav")
    assert (first["musicality"], first["alignment"]) == (expected.musicality, expected.alignment)
    assert second["musicality"] is None
    assert "No such file" in second["error"]
    table = list(csv.DictReader(io.StringIO(cli("score", "--requests", songs / name, "--csv").stdout)))
    assert [float(table[0]["musicality"]), table[1]["musicality"]] == [expected.musicality, ""]


WRONG_REQUESTS = [
    ("r.jsonl", '{"audio": "a", "text": 3}', "line 1: 'text' is 3, not text"),
    ("r.jsonl", '{"adio": "a"}', "no column 'audio'.\n  -> Did you mean adio"),
    ("r.jsonl", '{"audio": "a"}\n{"text": "x"}', "line 2: there is no 'audio'"),
    ("r.jsonl", '{"audio": "a"}\n{"audio": " "}', "line 2: 'audio' is empty"),
    ("r.jsonl", '{"audio": "a"', "line 1, column 14: not JSON"),
    ("r.jsonl", "[1]", "entry 1: no JSON object"),
    ("r.jsonl", "", "holds no records"),
    ("r.csv", "audio,text\na,b,c\n", "line 2: not as many cells"),
    ("r.csv", 'audio,text\na,"b\n', "not CSV"),
    ("r.csv", "song\na\n", "no column 'audio'"),
]


@pytest.mark.parametrize(("name", "content", "says"), WRONG_REQUESTS)
def test_wrong_requests_are_named_with_their_line(songs, cli, name, content, says):
    (songs / name).write_text(content)
    done = cli("score", "--requests", name)
    assert done.exit_code == 1
    assert says in done.stderr
    assert done.stdout == ""


MISTAKES = [
    (["score"], 1, "Give songs, or a file of --requests"),
    (["score", "clean.wav", "--requests", "r.csv"], 1, "one of them"),
    (["score", "--requests", "gone.csv"], 1, "gone.csv does not exist"),
    (["score", "--requests", "r.csv", "--text", "x"], 1, "go with songs"),
    (["score", "gone.wav"], 1, "gone.wav does not exist"),
    (["score", "empty"], 1, "empty holds no audio files"),
    (["score", "clean.wav", "--ref", "gone.wav"], 1, "The reference gone.wav does not exist"),
    (["score", "clean.wav", "--text", "x", "--text-file", "y"], 1, "Both --text and --text-file"),
    (["score", "clean.wav", "--text-file", "gone"], 1, "gone cannot be read"),
    (["score", "clean.wav", "--text-file", "-", "--lyrics-file", "-"], 1, "are stdin"),
    (["score", "clean.wav", "--json", "--csv"], 1, "Both --json and --csv"),
    (["score", "clean.wav", "--no-cache"], 1, "Both --no-cache and --cache-dir"),
    (["score", "clean.wav", "--model", "signa"], 1, "Did you mean signal"),
    (["score", "clean.wav", "--checkpoint", "x"], 1, "has no option 'checkpoint'"),
    (["score", "clean.wav", "--model", "oracle"], 1, "answers from the labels"),
    (["score", "clean.wav", "--device", "cuda:99"], 1, "Asked for cuda:99"),
    (["score", "clean.wav", "--max-dur", "-3"], 1, "max_dur=-3.0 is not positive"),
    (["score", "clean.wav", "--set", "batchsize=3"], 1, "Did you mean batch_size"),
    (["rank", "clean.wav", "--weight", "0.3"], 1, "Use --by mean"),
    (["rank", "clean.wav", "--by", "loudness"], 2, "loudness"),
    (["rank", "clean.wav", "--top-k", "0"], 2, "--top-k"),
    (["score", "clean.wav", "--bogus"], 2, "--bogus"),
]


@pytest.mark.parametrize(
    ("words", "code", "says"), MISTAKES, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_a_mistake_gets_one_message(songs, cli, words, code, says):
    (songs / "empty").mkdir()
    (songs / "r.csv").write_text("audio\nclean.wav\n")
    done = cli(*words)
    assert done.exit_code == code
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
