import contextlib
from itertools import islice

import pytest

from cmi_bench.errors import RunError
from cmi_bench.utils.json_lines import JsonLines, objects_at, write_json_lines

SONGS = [{"n": 0}, {"n": 1, "text": "a\u2028b \x85 ü"}, {"n": 2}]


def test_lines_are_read_where_they_are_asked_for(tmp_path):
    write_json_lines(tmp_path / "songs.jsonl", iter(SONGS))

    lines = JsonLines(tmp_path / "songs.jsonl")

    assert len(lines) == 3
    assert list(lines) == SONGS
    assert [lines[0], lines[-1], lines[1:]] == [SONGS[0], SONGS[2], SONGS[1:]]


def test_an_empty_file_and_one_that_was_not_finished(tmp_path):
    path = tmp_path / "songs.jsonl"
    write_json_lines(path, [])
    assert list(JsonLines(path)) == []

    def stops():
        yield {"n": 0}
        raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        write_json_lines(path, stops())
    assert [file.name for file in tmp_path.iterdir()] == ["songs.jsonl"]
    assert list(JsonLines(path)) == []


def test_lines_of_a_file_that_people_wrote(tmp_path):
    path = tmp_path / "by_hand.jsonl"
    path.write_bytes('\ufeff{"n": 0}\r\n\r\n \u00a0\n{"n": 1, "text": "ü"}\n\n  {"n": 2}'.encode())

    lines = JsonLines(path)

    assert list(lines) == [lines[0], lines[1], lines[2]] == lines[:] == [{"n": 0}, {"n": 1, "text": "ü"}, {"n": 2}]
    assert lines[-1] == {"n": 2}
    with pytest.raises(IndexError):
        lines[3]


@pytest.mark.parametrize("kind", [list, JsonLines])
def test_some_lines_are_read_at_once(tmp_path, kind):
    write_json_lines(tmp_path / "songs.jsonl", SONGS)
    songs = JsonLines(tmp_path / "songs.jsonl") if kind is JsonLines else SONGS

    assert list(objects_at(songs, [0, 2, 1])) == [SONGS[0], SONGS[2], SONGS[1]]
    assert list(objects_at(songs, [])) == []
    assert (songs == SONGS, songs == [*SONGS, {}], songs != SONGS[:1]) == (True, False, True)


def test_a_file_that_changes_meanwhile_is_no_longer_read(tmp_path):
    path = tmp_path / "songs.jsonl"
    write_json_lines(path, SONGS)
    lines = JsonLines(path)
    loop = iter(lines)
    assert list(islice(loop, 1)) == SONGS[:1]

    write_json_lines(path, [*SONGS, {"n": 3}])  # takes its place

    assert list(loop) == SONGS[1:]
    with pytest.raises(RunError, match=r"songs.jsonl was changed while it was being read"):
        lines[0]
