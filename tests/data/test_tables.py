import datetime

import pyarrow
import pytest
from own_tables import write_table
from pyarrow import parquet

from cmi_bench.data.tables import read_table
from cmi_bench.errors import UserError

ROWS = [{"song": "a.wav", "rating": "4"}, {"song": "b.wav", "rating": "2.5"}]


@pytest.mark.parametrize(
    ("name", "form", "unit"),
    [
        ("r.csv", "CSV with commas", "line"),
        ("r.tsv", "TSV", "line"),
        ("r.jsonl", "JSON lines", "line"),
        ("r.json", "JSON list", "entry"),
        ("r.parquet", "Parquet", "row"),
    ],
)
def test_every_form_gives_the_same_cells(tmp_path, name, form, unit):
    table = read_table(write_table(tmp_path / name, ROWS))
    assert [line.value for line in table.lines] == ROWS
    assert (table.form, table.unit, table.columns) == (form, unit, ("song", "rating"))


def test_lines_are_counted_as_editors_do(tmp_path):
    (tmp_path / "r.csv").write_text('song,prompt\n\na.wav,"two\nlines"\n,\nb.wav,x\n')
    assert [line.number for line in read_table(tmp_path / "r.csv").lines] == [3, 6]


def test_semicolons_of_spreadsheets_bring_decimal_commas(tmp_path):
    (tmp_path / "r.csv").write_bytes('\ufeffsong;"a, b, c, d";rating\na.wav;x;4,5\n'.encode())
    table = read_table(tmp_path / "r.csv")
    assert table.form == "CSV with semicolons"
    assert table.decimal_comma
    assert table.columns == ("song", "a, b, c, d", "rating")


def test_the_numbering_of_a_data_frame_has_a_name(tmp_path):
    (tmp_path / "r.csv").write_text(",song\n0,a.wav\n")
    assert read_table(tmp_path / "r.csv").columns == ("column 1", "song")


def test_parquet_becomes_what_json_has(tmp_path):
    rows = [{"song": "a.wav", "rating": float("nan"), "day": datetime.date(2026, 1, 2), "__index_level_0__": 7}]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "r.parquet")
    (line,) = read_table(tmp_path / "r.parquet").lines
    assert line.value == {"song": "a.wav", "rating": None, "day": "2026-01-02"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("r.csv", b"song,rating\na.wav\n", "line 2: 1 cells, and there are 2 columns"),
        ("r.csv", b'song,rating\n"a.wav,4\n', "not CSV"),
        ("r.csv", b"song,song\na,b\n", "two columns called 'song'"),
        ("r.csv", b"song,rating\n\xff.wav,4\n", "line 2 cannot be read as UTF-8"),
        ("r.csv", b"song,rating\n", "holds no rows"),
        ("r.jsonl", b'{"song": "a"}\n[1]\n', "line 2: a JSON list"),
        ("r.json", b'[{"song": "a"}, 3]', "entry 2: no JSON object"),
        ("r.parquet", b"PAR1 not really", "is not Parquet"),
    ],
)
def test_what_is_no_table_is_said_with_its_line(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_table(tmp_path / name)


@pytest.mark.parametrize("name", ["r.csv", "r.parquet"])
def test_a_table_that_is_not_there(tmp_path, name):
    with pytest.raises(UserError, match=f"{name} does not exist"):
        read_table(tmp_path / name)
    (tmp_path / name).mkdir()
    with pytest.raises(UserError, match="Not a regular file but a folder"):
        read_table(tmp_path / name)
