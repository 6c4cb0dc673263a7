"""Songs and requests as commands take them; a mistake names the file and the line."""

import csv
import io
import json

import pytest

from cmi_bench import load_model
from cmi_bench.cli.inputs import requested_songs


def records(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


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


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0c", "\x1e"])
def test_lyrics_may_hold_what_unicode_calls_the_end_of_a_line(songs, separator):
    lyrics = f"la{separator}la"
    lines = [json.dumps({"audio": name, "lyrics": lyrics}, ensure_ascii=False) for name in ("clean.wav", "b.wav")]
    (songs / "r.jsonl").write_text("\r\n".join(lines).replace("\x0c", "\\f").replace("\x1e", "\\u001e"))
    assert [song.clip.lyrics for song in requested_songs(songs / "r.jsonl")] == [lyrics, lyrics]


WRONG_REQUESTS = [
    ("r.jsonl", '{"audio": "a", "text": 3}', "line 1: 'text' is 3, not text"),
    ("r.jsonl", '{"adio": "a"}', "no column 'audio'.\n  -> Did you mean adio"),
    ("r.jsonl", '{"audio": "a"}\n{"text": "x"}', "line 2: there is no 'audio'"),
    ("r.jsonl", '{"audio": "a"}\n{"audio": " "}', "line 2: 'audio' is empty"),
    ("r.jsonl", '{"audio": "a"', "line 1, column 14: not JSON"),
    ("r.jsonl", "[1]", "entry 1: no JSON object"),
    ("r.jsonl", "", "holds no rows"),
    ("r.csv", "audio,text\na,b,c\n", "line 2: 3 cells, and there are 2 columns"),
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
