"""Requests as a stream: the same from every form and place, one schema, and each mistake told before any is scored."""

import fsspec
import pyarrow as pa
import pytest
from own_tables import write_table
from pyarrow import parquet

from cmi_bench.catalogue import request_tables
from cmi_bench.catalogue.parts import plan_parts
from cmi_bench.catalogue.requests import open_requests
from cmi_bench.errors import UserError

ROWS = [{"audio": f"{number}.wav", "text": f"take {number}", "note": "ü\u2028x"} for number in range(10)]


@pytest.fixture(autouse=True)
def few_rows_at_once(monkeypatch):
    monkeypatch.setattr(request_tables, "ROWS_AT_ONCE", 3)


@pytest.fixture
def bucket(tmp_path):
    """An address with nothing below it."""
    return f"memory://{tmp_path.name}"


def rows_of(stream):
    """Return all requests; they are read twice, as a run may."""
    rows = [row for table in stream.tables() for row in table.to_pylist()]
    assert rows == [row for table in stream.tables() for row in table.to_pylist()]
    assert all(table.schema == stream.schema and table.num_rows for table in stream.tables())
    assert stream.count == len(rows)
    return rows


@pytest.mark.parametrize("name", ["r.parquet", "r.csv", "r.tsv", "r.jsonl"])
def test_every_form_and_place_gives_the_same_requests(tmp_path, bucket, name):
    local = open_requests(write_table(tmp_path / name, ROWS))
    assert rows_of(local) == ROWS
    assert local.root == tmp_path
    fsspec.filesystem("memory").pipe(f"{bucket}/{name}", (tmp_path / name).read_bytes())
    remote = open_requests(f"{bucket}/{name}")
    assert rows_of(remote) == ROWS
    digests = {tuple(part.digest for part in plan_parts(stream, size=4)) for stream in (local, remote)}
    digests.add(tuple(part.digest for part in plan_parts(open_requests(write_table(tmp_path / "o.csv", ROWS)), size=4)))
    assert len(digests) == 1


def test_where_audio_is(tmp_path, bucket):
    names = ["a.wav", "/x/a.wav", "s3://other/a.wav", "file:///x/b.wav", "", "below/ü #1%.wav"]
    file = write_table(tmp_path / "r.jsonl", [{"audio": name, "ref_audio": name} for name in names])
    fsspec.filesystem("memory").pipe(f"{bucket}/t/r.jsonl", file.read_bytes())
    for name, root in ((file, tmp_path), (f"{bucket}/t/r.jsonl", f"{bucket}/t")):
        (part,) = plan_parts(open_requests(name))
        found = [song.audio for song in part.songs()]
        assert [str(place) for place in found] == [
            f"{root}/a.wav",
            "/x/a.wav",
            "s3://other/a.wav",
            "/x/b.wav",
            "None",
            f"{root}/below/ü #1%.wav",
        ]
        assert [song.ref_audio for song in part.songs()] == found
        assert [song.name for song in part.songs()] == names


def test_a_folder_is_its_songs_in_the_order_of_their_names(tmp_path, bucket):
    names = ["a.mp3", "b/a.flac", "b/z.WAV", "c.ogg"]
    for name in (*names, ".hidden/x.mp3", "b/notes.txt", "cover.png"):
        (tmp_path / "songs" / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / "songs" / name).write_bytes(b"")
        fsspec.filesystem("memory").pipe(f"{bucket}/songs/{name}", b"")
    for place in (tmp_path / "songs", f"{bucket}/songs"):
        stream = open_requests(place)
        assert rows_of(stream) == [{"audio": name} for name in names]
        assert str(stream.root) == str(place)


def test_a_folder_of_tables_is_one_table(tmp_path, bucket):
    (tmp_path / "t").mkdir()
    for number, name in enumerate(["b.parquet", "a.parquet", ".c.parquet"]):
        file = write_table(tmp_path / "t" / name, ROWS[number : number + 4])
        fsspec.filesystem("memory").pipe(f"{bucket}/t/{name}", file.read_bytes())
    for place in (tmp_path / "t", f"{bucket}/t"):
        assert rows_of(open_requests(place)) == [*ROWS[1:5], *ROWS[:4]]
    write_table(tmp_path / "t" / "c.parquet", [{"audio": "x.wav", "text": 5, "note": ""}])
    with pytest.raises(UserError, match=r"c.parquet has other columns than .*a.parquet: 'text' is int64, not string"):
        open_requests(tmp_path / "t")


def test_parquet_is_carried_through_as_it_is(tmp_path):
    own = pa.table(
        {
            "audio": pa.array(["a.wav", None]).dictionary_encode(),
            "when": pa.array([0, None], pa.timestamp("us", "UTC")),
            "tags": [["x", "y"], None],
            "text": pa.nulls(2),
            "__index_level_0__": [0, 1],
        }
    )
    parquet.write_table(own, tmp_path / "r.parquet")
    stream = open_requests(tmp_path / "r.parquet")
    assert stream.schema.types == [pa.string(), pa.timestamp("us", "UTC"), pa.list_(pa.string()), pa.null()]
    assert rows_of(stream) == own.drop_columns("__index_level_0__").to_pylist()
    (part,) = plan_parts(stream)
    assert [(song.name, song.audio, song.text) for song in part.songs()] == [
        ("a.wav", tmp_path / "a.wav", ""),
        ("", None, ""),
    ]


def test_types_of_json_are_settled_by_all_lines(tmp_path):
    lines = [
        '{"audio": "a.wav", "whole": 1, "number": 1, "mixed": 1, "truth": true, "never": null, "long": 9007199254740993}',  # noqa: E501
        '{"audio": "b.wav", "whole": null, "number": 0.5, "mixed": "two", "nested": [1, {"ü": 2}], "long": 1}',
        '{"audio": "c.wav", "late": "x", "huge": 123456789012345678901234567890}',
    ]
    (tmp_path / "r.jsonl").write_text("\n".join(lines), encoding="utf-8")
    stream = open_requests(tmp_path / "r.jsonl")
    assert {field.name: str(field.type) for field in stream.schema} == {
        "audio": "string",
        "whole": "int64",
        "number": "double",
        "mixed": "string",
        "truth": "bool",
        "never": "string",
        "long": "int64",
        "nested": "string",
        "late": "string",
        "huge": "string",
    }
    first, second, third = rows_of(stream)
    assert (first["number"], first["mixed"], first["long"], first["late"]) == (1.0, "1", 2**53 + 1, None)
    assert (second["mixed"], second["nested"], second["whole"]) == ("two", '[1, {"ü": 2}]', None)
    assert third["huge"] == "123456789012345678901234567890"


def test_lines_that_come_later_are_for_another_time(tmp_path):
    file = write_table(tmp_path / "r.jsonl", ROWS[:4])
    stream = open_requests(file)
    with file.open("a") as opened:
        opened.write('{"audio": 5}\n')
    assert rows_of(stream) == ROWS[:4]


MISTAKES = {
    "empty.csv": ("", "empty.csv holds no rows"),
    "headed.csv": ("audio,text\n", "headed.csv holds no rows"),
    "named.csv": ("audoi,text\na.wav,x\n", "has no column 'audio'.\n  -> Did you mean audoi?"),
    "twice.csv": ("audio,text,text\na.wav,x,y\n", "two columns called 'text'"),
    "cells.csv": ("audio,text\na.wav,x\nb.wav,x, and y\n", "cells.csv, line 3: 3 cells, and there are 2 columns"),
    "quote.csv": ('audio,text\na.wav,"x\n', "not CSV"),
    "latin.csv": (b"audio,text\na.wav,\xfc\n", "latin.csv, line 2 cannot be read as UTF-8"),
    "empty.jsonl": ("\n", "empty.jsonl holds no rows"),
    "named.jsonl": ('{"audoi": "a.wav"}\n', "Did you mean audoi?"),
    "cut.jsonl": ('{"audio": "a.wav"}\n{"audio": "b.w', "cut.jsonl, line 2"),
    "list.jsonl": ('["a.wav"]\n', "list.jsonl, line 1: a JSON list, not an object"),
    "typed.jsonl": (
        '{"audio": "a.wav"}\n\n{"audio": "a.wav", "text": 5}\n',
        "typed.jsonl, line 3: 'text' is 5, not text",
    ),
    "no.parquet": ("no", "no.parquet is not Parquet"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_in_a_table(tmp_path, name):
    content, says = MISTAKES[name]
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError) as error:
        open_requests(tmp_path / name)
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"audoi": ["a.wav"]}, "Did you mean audoi?"),
        ({"audio": [b"RIFF"]}, "the column 'audio' is binary, not text"),
        ({"audio": [{"bytes": b"RIFF", "path": "a.wav"}]}, "Write the path or address of the song's file"),
        ({"audio": ["a.wav"], "lyrics": [5]}, "the column 'lyrics' is int64, not text"),
        ({"audio": pa.array([], pa.string())}, "holds no rows"),
    ],
)
def test_mistakes_in_parquet(tmp_path, columns, says):
    parquet.write_table(pa.table(columns), tmp_path / "r.parquet")
    with pytest.raises(UserError) as error:
        open_requests(tmp_path / "r.parquet")
    assert says in str(error.value)


def test_what_is_not_there(tmp_path, bucket):
    (tmp_path / "empty").mkdir()
    for place, says in [
        (tmp_path / "gone.csv", "gone.csv does not exist"),
        (tmp_path / "gone.parquet", "gone.parquet does not exist"),
        (tmp_path / "empty", "holds no audio files"),
        (f"{bucket}/gone.csv", "gone.csv does not exist"),
        (f"{bucket}/gone.parquet", "gone.parquet does not exist"),
        ("nowhere://x.csv", "Protocol not known: nowhere"),
    ]:
        with pytest.raises(UserError, match=says):
            open_requests(place)
