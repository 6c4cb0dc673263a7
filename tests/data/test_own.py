from pathlib import Path

import pytest
from own_tables import understood, write_table

from cmi_bench.config import TableConfig
from cmi_bench.data import fields
from cmi_bench.data.own import read_own
from cmi_bench.errors import UserError


def ratings(*songs, **columns):
    return [{"song": f"{song}.wav", **{name: values[at] for name, values in columns.items()}}
            for at, song in enumerate(songs)]  # fmt: skip


def pair(a, b, winner, **more):
    return {"A": f"{a}.wav", "B": f"{b}.wav", "winner": winner} | more


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "json", "parquet"])
def test_ratings_of_any_form_and_scale(tmp_path, suffix):
    table = understood(tmp_path / f"r.{suffix}", ratings("a", "b", rating=[87.5, -3], prompt=["x", ""]))
    first, second = table.raw_rows()
    assert (first[fields.AUDIO_A], first[fields.PROMPT], first["musicality"]) == ("a.wav", "x", 87.5)
    assert second["musicality"] == -3
    assert fields.RATINGS not in first
    assert [task.name for task in table.dataset.tasks] == ["musicality"]


def test_both_aspects_in_columns_or_in_lines_are_the_same(tmp_path):
    wide = understood(tmp_path / "w.csv", ratings("a", "b", musicality=[1, 2], alignment=[3, ""]))
    lines = [
        {"song": "a.wav", "aspect": "Musicality", "rating": 1}, {"song": "a.wav", "aspect": "alignment", "rating": 3},
        {"song": "b.wav", "aspect": "quality", "rating": 2},
    ]  # fmt: skip
    long = understood(tmp_path / "l.csv", lines)
    assert long.declaration == wide.declaration
    labels = [[raw[name] for name in ("musicality", "text-music alignment")] for raw in long.raw_rows()]
    assert labels == [[1, 3], [2, None]]
    assert labels == [[raw[name] for name in ("musicality", "text-music alignment")] for raw in wide.raw_rows()]


def test_ratings_of_prompts_are_said_to_be(tmp_path):
    table = understood(tmp_path / "r.csv", ratings("a", rating=[3]), aspect="alignment")
    assert table.raw_rows()[0]["text-music alignment"] == 3


def test_the_label_of_several_raters_is_their_mean(tmp_path):
    rows = ratings("a", "b", "a", "a", rating=[5, 3, 4, 3], rater=["anna", "ben", "ben", "chloe"])
    table = understood(tmp_path / "r.csv", rows)
    first, second = table.raw_rows()
    assert first["musicality"] == 4
    assert first[fields.RATINGS] == {"musicality": {"anna": 5, "ben": 4, "chloe": 3}}
    assert second[fields.RATINGS] == {"musicality": {"ben": 3}}
    assert table.raters == {"anna": 1, "ben": 2, "chloe": 1}


def test_raters_without_names_are_counted_all_the_same(tmp_path):
    table = understood(tmp_path / "r.csv", ratings("a", "a", "b", rating=[5, 4, 1]))
    assert table.raw_rows()[0][fields.RATINGS] == {"musicality": [5, 4]}
    assert not table.raters
    assert table.has_several_raters


def test_one_song_of_two_prompts_is_two_rows(tmp_path):
    table = understood(tmp_path / "r.csv", ratings("a", "a", rating=[5, 1], prompt=["x", "y"]))
    assert [raw["musicality"] for raw in table.raw_rows()] == [5, 1]


def test_a_rater_who_judges_twice(tmp_path):
    rows = ratings("a", "b", "a", "b", rating=[5, 3, 5, 4], rater=["anna"] * 4)
    table = understood(tmp_path / "r.csv", rows)
    assert table.repeated == [4]
    assert table.problems == ["line 5: anna judged this before, and differently (line 3)."]
    with pytest.raises(UserError, match=r"1 line cannot be understood(?s:.*)line 5"):
        table.check()


@pytest.mark.parametrize(
    ("spelled", "winner"),
    [
        *[(one, "model_a") for one in ("A", "a", " model_a ", "left", "Song A", "A > B", "B<A", "a.wav")],
        *[(one, "model_b") for one in ("B", "second", "right", "audio_b", "A<B", "b.wav")],
        *[(one, "both") for one in ("tie", "Both", "EQUAL", "=", "no preference", "neither", "A = B")],
        *[(one, None) for one in ("", "NA", "n/a", "-", "None")],
    ],
)
def test_winners_as_people_spell_them(tmp_path, spelled, winner):
    (raw,) = understood(tmp_path / "p.csv", [pair("a", "b", spelled)]).raw_rows()
    assert raw["preference"] == winner


def test_the_winner_may_be_named_by_its_system(tmp_path):
    rows = [pair("a", "b", "suno", model_a="udio", model_b="suno"), pair("c", "d", "udio", model_a="x", model_b="y")]
    table = understood(tmp_path / "p.csv", rows)
    assert table.raw_rows()[0]["preference"] == "model_b"
    assert table.problems == ["line 3: 'udio' does not say who won (A, B, tie, or the winner's song or system)."]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_one_and_two_are_the_sides_but_beside_a_zero_they_say_nothing(tmp_path, suffix):
    rows = [pair("a", "b", 1), pair("c", "d", 2), pair("g", "h", None)]
    table = understood(tmp_path / f"p.{suffix}", rows)
    assert [raw["preference"] for raw in table.raw_rows()] == ["model_a", "model_b", None]
    for others in ([], [pair("e", "f", 2)]):  # 0 may be a tie, or the first song
        unclear = understood(tmp_path / f"q.{suffix}", [pair("a", "b", 1), pair("c", "d", 0), *others])
        assert len(unclear.problems) == 2 + len(others)
        assert "does not say who won: write A, B or tie" in unclear.problems[0]


def test_the_majority_of_votes_is_the_label_whichever_way_round_the_pair_was_shown(tmp_path):
    rows = [
        pair("b", "a", "A", rater="anna"), pair("a", "b", "B", rater="ben"), pair("b", "a", "B", rater="chloe"),
        pair("c", "d", "A", rater="anna"), pair("d", "c", "A", rater="ben"),
    ]  # fmt: skip
    first, second = understood(tmp_path / "p.csv", rows).raw_rows()
    assert (first[fields.AUDIO_A], first["preference"]) == ("b.wav", "model_a")
    assert first[fields.share_field("preference")] == pytest.approx(2 / 3)
    assert first[fields.RATINGS] == {"preference": {"anna": "model_a", "ben": "model_a", "chloe": "model_b"}}
    assert (second["preference"], second[fields.share_field("preference")]) == ("both", 0.5)


def test_a_pair_is_both_bad_where_most_raters_without_a_winner_said_so(tmp_path):
    said = {"a": ["both bad", "Both_Bad", "tie"], "c": ["both bad", "tie"], "e": ["A", "B"], "g": ["neither"]}
    rows = [
        pair(song, f"{song}2", answer, rater=str(at))
        for song, answers in said.items()
        for at, answer in enumerate(answers)
    ]
    labels = [raw["preference"] for raw in understood(tmp_path / "p.csv", rows).raw_rows()]
    assert labels == ["both_bad", "both", "both", "both"]


def test_pairs_of_both_aspects(tmp_path):
    rows = [{"A": "a.wav", "B": "b.wav", "winner_musicality": "A", "winner_alignment": "tie"}]
    table = understood(tmp_path / "p.csv", rows)
    assert [task.name for task in table.dataset.tasks] == ["musicality", "alignment"]
    (raw,) = table.raw_rows()
    assert (raw["preference-musicality"], raw["preference-alignment"]) == ("model_a", "both")


def test_every_line_that_cannot_be_understood_is_named(tmp_path):
    rows = [*ratings("a", "b", "c", rating=["4/5", "6", "4"]), {"song": "", "rating": "3"}]
    table = understood(tmp_path / "r.csv", rows, scale=[1, 5])
    assert table.problems == [
        "line 2: '4/5' is not a number.",
        "line 3: '6' is not on the scale from 1 to 5.",
        "line 5: the column 'song' names no song.",
    ]


def test_decimal_commas(tmp_path):
    (tmp_path / "r.csv").write_text("song;rating\na.wav;4,5\n")
    assert understood(tmp_path / "r.csv").raw_rows()[0]["musicality"] == 4.5


def test_groups_are_columns_by_any_spelling(tmp_path):
    rows = ratings("a", "b", rating=[1, 2], Genre=["pop", ""], model=["x", "y"], split=["test", "test"])
    table = understood(tmp_path / "r.csv", rows, group_by=["genre", "model"])
    first, second = table.raw_rows()
    groups = [[grouping.label(raw) for raw in (first, second)] for grouping in table.dataset.groupings]
    assert groups == [["pop", None], ["x", "y"]]
    with pytest.raises(UserError, match=r"(?s)no column 'gender'.*Did you mean Genre"):
        understood(tmp_path / "r.csv", group_by=["gender"])
    with pytest.raises(UserError, match="'rating' is not the song's own"):
        understood(tmp_path / "r.csv", group_by=["rating"])


def test_a_column_called_group_makes_groups_by_itself(tmp_path):
    table = understood(tmp_path / "r.csv", ratings("a", rating=[1], group=["live"]))
    assert [grouping.label(table.raw_rows()[0]) for grouping in table.dataset.groupings] == ["live"]


def test_what_raters_say_of_themselves_makes_no_group_of_songs(tmp_path):
    rows = ratings("a", "a", rating=[1, 2], rater=["anna", "ben"], age=[20, 30])
    assert understood(tmp_path / "r.csv", rows).raw_rows()[0]["age"] == ["20", "30"]
    assert "differ in 'age'" in understood(tmp_path / "r.csv", group_by=["age"]).problems[0]


def test_columns_that_mean_something_in_a_row_are_kept_under_another_name(tmp_path):
    rows = ratings("a", rating=[1], source=["suno"], predicted_x=[3], comment=["ok"])
    (raw,) = understood(tmp_path / "r.csv", rows).raw_rows()
    assert (raw["source"], raw["own_source"], raw["own_predicted_x"], raw["comment"]) == ("own:mine", "suno", "3", "ok")


def test_songs_are_relative_to_the_tables_folder_or_to_the_root_given(tmp_path):
    rows = [{"song": r"sub\a.wav", "rating": 1}, {"song": str(tmp_path / "b.wav"), "rating": 2}]
    table = understood(tmp_path / "r.csv", rows)
    assert [row.audio for row in table.rows] == [["sub/a.wav"], ["b.wav"]]
    assert table.root == tmp_path
    other = understood(tmp_path / "r.csv", ratings("a", rating=[1]), root=str(tmp_path / "else"))
    assert other.root == tmp_path / "else"


def test_absolute_paths_elsewhere_have_the_folder_in_common_as_root(tmp_path):
    rows = [{"song": f"/music/{name}.wav", "rating": 1} for name in ("x/a", "y/b")]
    table = understood(tmp_path / "r.csv", rows)
    assert table.root == Path("/music")
    assert [row.audio for row in table.rows] == [["x/a.wav"], ["y/b.wav"]]
    (row, _) = table.split_rows("test", data_root=tmp_path)
    assert (row.audio_a, row.raw[fields.AUDIO_A]) == ("/music/x/a.wav", "x/a.wav")


@pytest.mark.parametrize("song", ["../secret.wav", "/etc/secret.wav"])
def test_a_song_outside_of_the_root_is_refused_unless_allowed(tmp_path, song):
    rows = [{"song": "a.wav", "rating": 1}, {"song": song, "rating": 2}]
    file = write_table(tmp_path / "r.csv", rows)
    (problem,) = understood(file).problems
    assert "line 3" in problem
    assert "data.allow_outside=true" in problem
    assert not read_own(TableConfig(csv=str(file)), "mine", allow_outside=True).problems


def test_splits_are_kept_apart(tmp_path):
    table = understood(tmp_path / "r.csv", ratings("a", "b", "b", rating=[1, 2, 3], split=["test", "train", "test"]))
    chosen = table.split_rows("test", data_root=tmp_path, after=100)
    assert [(row.index, row.audio_a) for row in chosen] == [(102, "a.wav"), (104, "b.wav")]
    assert len(table.split_rows("test", data_root=tmp_path, limit=1)) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scale": [5, 1]}, "is no scale"),
        ({"aspect": "musicalty"}, r"(?s)data.aspect=musicalty is no aspect.*Did you mean musicality"),
        ({"csv": None}, "has no table"),
    ],
)
def test_settings_that_cannot_be(tmp_path, settings, message):
    write_table(tmp_path / "r.csv", ratings("a", rating=[1]))
    with pytest.raises(UserError, match=message):
        read_own(TableConfig(**{"csv": str(tmp_path / "r.csv")} | settings), "mine")


def test_a_song_is_not_compared_with_itself(tmp_path):
    assert "A and B are the same song" in understood(tmp_path / "p.csv", [pair("a", "a", "A")]).problems[0]
