import numpy as np
import pytest

from cmi_bench.evaluation.reading import JoinedRows, ResultRow, RowView, as_numbers, read_rows
from cmi_bench.utils.json_lines import JsonLines, write_json_lines

SONGS = [{"n": number} for number in range(6)]


@pytest.fixture(params=["list", "file"])
def songs(request, tmp_path):
    if request.param == "list":
        return SONGS
    write_json_lines(tmp_path / "songs.jsonl", SONGS)
    return JsonLines(tmp_path / "songs.jsonl")


def numbers(rows):
    return [(row.number, row.raw["n"]) for row in rows]


def test_a_view_has_some_rows_under_their_numbers(songs):
    view = RowView(songs, np.array([1, 3, 4]))
    assert numbers(view) == [(2, 1), (4, 3), (5, 4)]
    assert (len(view), view[-1], numbers(view[1:])) == (3, ResultRow(5, {"n": 4}), [(4, 3), (5, 4)])
    assert numbers(view.take(np.array([2, 0]))) == [(5, 4), (2, 1)]
    assert not RowView(songs, np.array([], dtype=np.intp))


def test_views_are_joined(songs):
    joined = JoinedRows([RowView(songs, np.array(places, dtype=np.intp)) for places in ([0, 1], [], [5, 2, 3])])
    assert numbers(joined) == [(1, 0), (2, 1), (6, 5), (3, 2), (4, 3)]
    assert [joined[at].number for at in range(-5, 5)] == [1, 2, 6, 3, 4] * 2
    assert numbers(joined[1:3]) == numbers(joined.take(np.array([1, 2]))) == [(2, 1), (6, 5)]
    with pytest.raises(IndexError):
        joined[5]


def test_all_readers_see_all_rows_in_one_pass():
    seen = []

    class Reader:
        def __init__(self, name):
            self.name = name

        def take(self, row):
            seen.append((self.name, row.number))

    read_rows(iter(RowView(SONGS, np.array([0, 5]))), Reader("a"), Reader("b"))
    assert seen == [("a", 1), ("b", 1), ("a", 6), ("b", 6)]


def test_numbers_that_were_kept_are_an_array():
    from array import array

    assert as_numbers(array("d")).tolist() == []
    assert (as_numbers(array("q", [3, -1])).dtype, as_numbers(array("b", [1])).dtype) == (np.int64, np.int8)
