import dataclasses

import pytest

from cmi_bench.config import ColumnsConfig
from cmi_bench.data.columns import Role, match_columns
from cmi_bench.errors import UserError


def matched(*columns, **given):
    return match_columns(columns, ColumnsConfig(**given), file="t.csv")


@pytest.mark.parametrize(
    ("columns", "roles"),
    [
        (("song", "prompt", "rating"), {"song": "song", "prompt": "prompt", "rating": "rating"}),
        (("File Path", "MOS", "Caption"), {"song": "File Path", "rating": "MOS", "prompt": "Caption"}),
        (("wav", "OVL", "REL"), {"song": "wav", "musicality": "OVL", "alignment": "REL"}),
        (("audio", "score", "Listener-ID"), {"song": "audio", "rating": "score", "rater": "Listener-ID"}),
        (("song", "rating", "aspect"), {"song": "song", "rating": "rating", "aspect": "aspect"}),
        (("A", "B", "winner"), {"a": "A", "b": "B", "winner": "winner"}),
        (("audio_1", "audio_2", "preference"), {"a": "audio_1", "b": "audio_2", "winner": "preference"}),
        (("song_a", "song_b", "musicality", "alignment"),
         {"a": "song_a", "b": "song_b", "winner_musicality": "musicality", "winner_alignment": "alignment"}),
        (("left_song", "right_song", "choice", "model_a", "model_b"),
         {"a": "left_song", "b": "right_song", "winner": "choice", "system_a": "model_a", "system_b": "model_b"}),
    ],
)  # fmt: skip
def test_usual_names_are_understood(columns, roles):
    found = matched(*columns)
    assert found.of == roles
    assert found.is_paired == ("a" in roles)


def test_what_has_no_role_is_kept():
    assert matched("song", "rating", "genre", "comment").unused == ("genre", "comment")


def test_a_role_can_be_given_whatever_the_column_is_called():
    found = matched("Datei", "Urteil", "score", song="Datei", rating="urteil")
    assert found.of == {Role.SONG: "Datei", Role.RATING: "Urteil"}
    assert found.unused == ("score",)


def test_the_roles_own_name_wins():
    assert matched("song", "path", "rating", "score").of == {Role.SONG: "song", Role.RATING: "rating"}


def test_a_given_song_makes_a_table_of_songs_though_there_are_two_sides():
    assert not matched("mix", "a", "b", "rating", song="mix").is_paired


@pytest.mark.parametrize(
    ("columns", "given", "message"),
    [
        (("audio", "path", "rating"), {}, "which column is the song, 'audio' or 'path'"),
        (("song", "rating", "musicality"), {}, "which column is the label, 'rating' or 'musicality'"),
        (("title", "rating"), {}, "no column for the songs, nor two for pairs"),
        (("song", "genre"), {}, "no column for the ratings"),
        (("a", "b", "genre"), {}, "no column for the winners"),
        (("song", "rating"), {"rating": "ratings"}, r"(?s)no column 'ratings'.*Did you mean rating"),
        (("song", "rating"), {"winner": "rating"}, "single songs with ratings, which have no winner"),
    ],
)
def test_what_cannot_be_told_is_asked(columns, given, message):
    with pytest.raises(UserError, match=message):
        matched(*columns, **given)


def test_one_column_of_labels_beside_those_of_aspects_can_be_chosen():
    assert Role.MUSICALITY not in matched("song", "rating", "musicality", rating="rating").of
    assert Role.RATING not in matched("song", "rating", "musicality", musicality="musicality").of
    assert Role.RATING in matched("song", "rating", "musicality", "aspect").of


def test_every_role_can_be_given():
    assert [one.name for one in dataclasses.fields(ColumnsConfig)] == list(Role)
