import contextlib

from cmi_bench.utils.json_lines import JsonLines, write_json_lines

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
