"""`cmi-bench mirex`."""

import json

import pytest

PAIRS = [
    {"sample_id": "p1", "prompt": "slow", "audio_A": "clean.wav", "audio_B": "takes/b.wav"},
    {"sample_id": 2, "prompt": "", "audio_A": "takes/b.wav", "audio_B": "clean.wav", "more": 1},
    {"sample_id": "tie", "prompt": "slow", "audio_A": "clean.wav", "audio_B": "clean.wav"},
]


def write(path, pairs):
    path.write_text("".join(json.dumps(pair) + "\n" for pair in pairs))


def test_predictions(songs, cli, tmp_path):
    write(tmp_path / "q.jsonl", PAIRS)
    done = cli("mirex", tmp_path / "q.jsonl", "--root", ".", "--out", "out/p.jsonl")
    assert (done.exit_code, done.stdout) == (0, "")
    assert (songs / "out" / "p.jsonl").read_text() == (
        '{"sample_id": "p1", "preferred_candidate": "A"}\n'
        '{"sample_id": 2, "preferred_candidate": "B"}\n'
        '{"sample_id": "tie", "preferred_candidate": "B"}\n'
    )
    assert "1 of 3 pairs have equal scores; they are given as B." in done.stderr


def test_a_list_of_pairs_and_their_scores(songs, cli):
    (songs / "q.json").write_text(json.dumps(PAIRS[:1]))
    (line,) = map(json.loads, cli("mirex", "q.json", "--with-scores").stdout.splitlines())
    assert line["preferred_candidate"] == "A"
    assert line["score_A"] > line["score_B"]


def test_a_pair_with_a_broken_song_has_no_preference(songs, cli):
    write(songs / "q.jsonl", [*PAIRS[:1], PAIRS[0] | {"sample_id": "x", "audio_B": "broken.mp3"}])
    done = cli("mirex", "q.jsonl")
    assert done.exit_code == 3
    assert [json.loads(line)["preferred_candidate"] for line in done.stdout.splitlines()] == ["A", None]
    assert "broken.mp3" in done.stderr
    assert "1 of 2 pairs have no preference" in done.stderr


@pytest.mark.parametrize(
    ("pairs", "says"),
    [
        ([PAIRS[0], PAIRS[0]], "line 2: sample_id 'p1' is that of q.jsonl, line 1"),
        ([PAIRS[0] | {"sample_id": ""}], "sample_id is ''"),
        ([PAIRS[0] | {"audio_A": "https://x/y.mp3"}], "Download the audio"),
        ([{"sample_id": 1, "prompt": "", "audio_a": "x", "audio_B": "y"}], "Did you mean audio_a"),
    ],
)
def test_mistakes(songs, cli, pairs, says):
    write(songs / "q.jsonl", pairs)
    done = cli("mirex", "q.jsonl")
    assert done.exit_code == 1
    assert says in done.stderr
    assert done.stdout == ""
