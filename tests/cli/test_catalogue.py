"""`cmi-bench score --requests TABLE --out FOLDER`: Parquet files of scores, and a message for each mistake."""

import csv
import json

import pyarrow as pa
import pytest
from pyarrow import parquet

ROWS = [{"audio": name, "text": "slow", "id": number} for number, name in enumerate(["clean.wav", "takes/a.flac"] * 2)]
WORDS = ("--requests", "r.csv", "--out", "s", "--part-size", "3")


@pytest.fixture
def table(songs):
    with (songs / "r.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(ROWS[0]))
        writer.writeheader()
        writer.writerows([*ROWS, {"audio": "gone.wav"}])
    return songs


def test_scores_are_those_of_the_command_without_out(table, cli, caplog):
    caplog.set_level("INFO", "cmi_bench")
    done = cli("score", *WORDS)
    assert (done.exit_code, done.stdout) == (3, "")
    assert caplog.messages[-2:] == [
        "s: 5 songs in 2 parts, 5 of them scored now, 1 failed.",
        "s/failed.parquet has the reasons; --retry-failed tries those songs again.",
    ]
    found = [parquet.read_table(table / "s" / f"part-00000{number}.parquet") for number in (0, 1)]
    assert [one.num_rows for one in found] == [3, 2]
    plain = [json.loads(line) for line in cli("score", "--requests", "r.csv", "--json").stdout.splitlines()]
    columns = ["audio", "text", "id", "musicality", "alignment"]
    assert pa.concat_tables(found).select(columns).to_pylist() == [
        {name: one[name] for name in columns} for one in plain
    ]

    caplog.clear()
    (table / "gone.wav").write_bytes((table / "clean.wav").read_bytes())
    assert cli("score", *WORDS, "--retry-failed", "--shard", "2/2").exit_code == 0
    assert caplog.messages[-1] == "s: 2 songs in 1 part of shard 2/2, 2 of them scored now, 0 failed."
    assert not (table / "s" / "failed.parquet").exists()

    done = cli("score", *WORDS, "--max-dur", "60")
    assert done.exit_code == 1
    assert "s/part-000000.parquet was made with another model or with other settings: max_dur: 120" in done.stderr


def test_nothing_but_broken_songs(songs, cli):
    (songs / "bad").mkdir()
    (songs / "broken.mp3").rename(songs / "bad" / "x.mp3")
    assert cli("score", "--requests", "bad", "--out", "s").exit_code == 1
    (row,) = parquet.read_table(songs / "s" / "failed.parquet").to_pylist()
    assert row["audio"] == "x.mp3"
    assert row["error"].startswith("Cannot decode x.mp3")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("clean.wav", "--out", "s"), "--out goes with --requests"),
        (("--requests", "r.csv", "--shard", "1/2"), "--shard has no effect without --out"),
        (("--requests", "takes"), "takes is no local file"),
        ((*WORDS, "--csv"), "--csv has no effect with --out"),
        ((*WORDS, "--shard", "3/2"), "--shard 3/2 is no shard"),
        ((*WORDS, "--set", "resume=false"), "has no effect with --out"),
        (("--requests", "r.csv", "--out", "gone://x"), "Protocol not known: gone"),
        ((*WORDS, "--workers", "2"), "--workers is of a cluster"),
        (("--requests", "r.csv", "--engine", "ray"), "--engine has no effect without --out"),
        ((*WORDS, "--engine", "ray", "--device", "cuda:1"), "--device cuda:1 has no meaning on a cluster"),
    ],
)
def test_mistakes(table, cli, words, says):
    done = cli("score", *words)
    assert done.exit_code == 1
    assert says in done.stderr
    assert not list(table.glob("s/*"))
