import re
import shlex

import pytest
import yaml
from command_line import configured
from own_tables import write_song, write_table
from registries import restored_registries

from cmi_bench.cli.import_table import ImportOptions, import_table
from cmi_bench.data.chosen import load_chosen
from cmi_bench.errors import UserError
from cmi_bench.types import Aspect


@pytest.fixture(autouse=True)
def registries(tmp_path, monkeypatch):
    monkeypatch.setattr("cmi_bench.cli.import_table.cache_folder", lambda: tmp_path / "cache")
    with restored_registries():
        yield


@pytest.fixture
def table(tmp_path):
    for name in "ab":
        write_song(tmp_path / f"{name}.wav")
    rows = [
        {"song": f"{name}.wav", "rating": rating, "rater": rater, "genre": genre, "source": "suno"}
        for name, rating, rater, genre in (("a", 4, "x", "pop"), ("a", 5, "y", "pop"), ("b", "", "x", "jazz"))
    ]
    return write_table(tmp_path / "my ratings.csv", rows)


def shown(capsys):
    return " ".join(capsys.readouterr().out.split())


def test_what_is_understood_is_shown(table, capsys):
    assert import_table(table, ImportOptions(group_by=["Genre"])) == 0
    text = shown(capsys)
    for fact in (
        "CSV with commas, 3 lines",
        "my_ratings: single songs with ratings; musicality",
        "song = song, rater = rater, rating = rating",
        "source (as own_source)",
        "2 songs",
        "2 of 2 files under",
        "2 labels from 4 to 5, higher is better; any scale will do; 1 rows without a label, not evaluated",
        "2: x 1, y 1; Krippendorff's alpha",
        "groups by genre jazz 1, pop 1",
    ):
        assert fact in text


def test_the_command_that_it_ends_with_reads_the_same(table, capsys):
    options = ImportOptions("mine", table.parent, ["rating=rating"], ["genre"], Aspect.ALIGNMENT, (1.0, 5.0))
    import_table(table, options)
    command = capsys.readouterr().out.splitlines()[-1]
    words = shlex.split(command)[2:]
    (dataset,) = {row.dataset for row in load_chosen(configured(*words)).rows.rows}
    assert (dataset.name, dataset.tasks[0].name, dataset.tasks[0].scale) == ("mine", "alignment", (1.0, 5.0))
    assert [grouping.key for grouping in dataset.groupings] == ["genre"]


def test_the_declaration_is_one_of_hydras(table, tmp_path, capsys):
    options = ImportOptions("mine", group_by=["genre"], out=tmp_path / "conf")
    assert import_table(table, options) == 0
    text = shown(capsys)
    assert re.search(r"--config-dir \S+/conf model=signal data=mine", text)
    written = yaml.safe_load((tmp_path / "conf/data/mine.yaml").read_text())
    assert written == {"defaults": ["custom", "_self_"], "name": "mine", "csv": str(table), "group_by": ["genre"]}
    assert import_table(table, options) == 0
    with pytest.raises(UserError, match="is there already, and says something else"):
        import_table(table, ImportOptions("mine", out=tmp_path / "conf"))


def test_all_lines_that_cannot_be_understood_are_listed(tmp_path, capsys):
    rows = [{"song": f"{at}.wav", "rating": "good"} for at in range(8)]
    assert import_table(write_table(tmp_path / "r.csv", rows), ImportOptions()) == 1
    text = shown(capsys)
    assert "8 lines cannot be understood" in text
    assert all(f"line {number}: 'good' is not a number." in text for number in range(2, 10))
    assert "Score it" not in text


def test_audio_that_is_missing_or_cannot_be_decoded_is_named(tmp_path, capsys):
    (tmp_path / "broken.wav").write_bytes(b"RIFF, or so it says")
    write_song(tmp_path / "a.wav")
    rows = [{"A": f"{name}.wav", "B": "a.wav", "winner": "A"} for name in ("broken", "gone")]
    assert import_table(write_table(tmp_path / "p.csv", rows), ImportOptions()) == 1
    text = shown(capsys)
    assert "1 of 3 files" in text
    assert "1 missing: gone.wav" in text
    assert "1 cannot be decoded: broken.wav (" in text
    assert "2 labels: A 2" in text
    assert "on_error=record" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": ["song"]}, "--column song is not ROLE=COLUMN"),
        ({"columns": ["sogn=song"]}, r"(?s)no --column sogn.*Did you mean song"),
        ({"name": "PAM"}, "There is a dataset PAM already"),
        ({"name": "a/b"}, "cannot be the name"),
    ],
)
def test_mistakes(table, options, message):
    with pytest.raises(UserError, match=message):
        import_table(table, ImportOptions(**options))
