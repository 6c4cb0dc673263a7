"""`cmi-bench rank`."""

import json

import pytest

from cmi_bench.cli.rank import copy_best


def records(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_best_come_first_and_failures_last(songs, cli):
    done = cli("rank", ".", "--json")
    assert done.exit_code == 3
    found = [(one["rank"], one["audio"]) for one in records(done)]
    assert found == [(1, "clean.wav"), (2, "takes/a.flac"), (3, "takes/b.wav"), (None, "broken.mp3")]
    table = cli("rank", ".", "--top-k", "1").stdout.splitlines()
    assert [line.split()[:2] for line in table if "wav" in line] == [["1", "clean.wav"]]
    assert "By musicality: the best 1 of 3." in table


def test_an_ensemble_ranks_by_its_mean_and_shows_the_spread(songs, cli):
    given = ["takes", "--text", "slow", "--model=custom", "--set", "model.class_path=opinions:Opinions", "--by", "mean"]
    table = cli("rank", *given).stdout.splitlines()
    first = next(line for line in table if line.split()[:1] == ["1"])
    assert first.split()[1] == "takes/b.wav"  # the louder
    assert first.count("±") == 3
    assert "±1.0000" in first  # half of musicality's
    found = records(cli("rank", *given, "--json"))
    assert [one["musicality_spread"] for one in found] == pytest.approx([2.0, 2.0])


def test_equal_songs_share_a_rank(songs, cli):
    found = records(cli("rank", "clean.wav", "takes/b.wav", "clean.wav", "--json"))
    assert [one["rank"] for one in found] == [1, 1, 3]


def test_by_a_weighted_mean(songs, cli):
    (record,) = records(cli("rank", "clean.wav", "--by", "mean", "--weight", "0.75", "--json"))
    table = cli("rank", "clean.wav", "--by", "mean", "--weight", "0.75").stdout
    value = 0.75 * record["musicality"] + 0.25 * record["alignment"]
    assert ["1", "clean.wav", f"{value:.4f}"] in [line.split()[:3] for line in table.splitlines()]
    assert "By 0.75 musicality + 0.25 alignment: 1 song." in table


def test_requests_are_ranked_by_instruction(songs, cli):
    rows = [("clean.wav", "slow"), ("takes/b.wav", "fast"), ("takes/a.flac", "slow"), ("clean.wav", "fast")]
    (songs / "r.jsonl").write_text("".join(json.dumps({"audio": a, "text": t}) + "\n" for a, t in rows))
    found = records(cli("rank", "--requests", "r.jsonl", "--top-k", "1", "--json"))
    assert [(one["rank"], one["text"], one["audio"]) for one in found] == [
        (1, "slow", "clean.wav"), (1, "fast", "clean.wav"),
    ]  # fmt: skip
    titles = cli("rank", "--requests", "r.jsonl").stdout.splitlines()
    assert "1. slow" in titles
    assert "2. fast" in titles
    done = cli("rank", "--requests", "r.jsonl", "--copy-to", "best")
    assert (done.exit_code, "several instructions" in done.stderr) == (1, True)


def test_copies_of_the_best(songs, cli):
    done = cli("rank", "takes", "clean.wav", "--top-k", "2", "--copy-to", "best/of")
    assert done.exit_code == 0
    assert "2 songs are in best/of" in done.stderr
    copies = {path.name: path.read_bytes() for path in (songs / "best" / "of").iterdir()}
    expected = {"01_clean.wav": songs / "clean.wav", "02_a.flac": songs / "takes" / "a.flac"}
    assert copies == {name: path.read_bytes() for name, path in expected.items()}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def takes(tmp_path):
    """Three files: the ranking's order is the caller's."""
    files = [tmp_path / name for name in ("a.wav", "b.wav", "c.wav")]
    for file in files:
        file.write_text(f"the bytes of {file.name}")
    return files


def test_copies_of_an_earlier_ranking_go(takes, tmp_path):
    a, b, c = takes
    best = tmp_path / "best"
    assert copy_best([a, b, c], best, given=takes).message == f"3 songs are in {best}"
    assert names(best) == ["01_a.wav", "02_b.wav", "03_c.wav"]
    # Not copies of these songs: another name, other bytes, a song that is not among them, a link.
    (best / "c.wav").write_bytes(c.read_bytes())
    (best / "04_a.wav").write_text("mine")
    (best / "05_other.wav").write_text("another ranking's")
    (best / "06_a.wav").symlink_to(a)
    kept = ["04_a.wav", "05_other.wav", "06_a.wav", "c.wav"]
    assert copy_best([b, a], best, given=takes).message == (
        f"2 songs are in {best}; 1 copy of an earlier ranking removed."
        " Not of these songs, and left: 04_a.wav, 05_other.wav"
    )
    assert names(best) == ["01_b.wav", "02_a.wav", *kept]
    assert (best / "02_a.wav").read_bytes() == a.read_bytes()


def test_songs_ranked_where_the_copies_go_stay(takes, tmp_path):
    for best in (takes, takes[:1]):
        copy_best(best, tmp_path, given=[*takes, tmp_path / "gone.wav"])
    assert names(tmp_path) == ["01_a.wav", "a.wav", "b.wav", "c.wav"]
    copies = [tmp_path / "01_a.wav"]
    copy_best(copies, tmp_path, given=copies)  # copies that are ranked are songs
    assert names(tmp_path) == ["01_01_a.wav", "01_a.wav", "a.wav", "b.wav", "c.wav"]


def test_copying_overwrites_nothing(songs, cli):
    words = ("rank", "takes", "clean.wav", "--top-k", "2", "--copy-to", "best")
    assert cli(*words).exit_code == cli(*words).exit_code == 0  # what is there already is the same
    (songs / "best" / "02_a.flac").write_text("mine")
    (songs / "best" / "01_clean.wav").unlink()
    done = cli(*words)
    assert done.exit_code == 1
    assert "02_a.flac exists and is another file" in done.stderr
    assert "clean.wav" in done.stdout  # the ranking is not lost
    assert [path.name for path in (songs / "best").iterdir()] == ["02_a.flac"]
    assert (songs / "best" / "02_a.flac").read_text() == "mine"
