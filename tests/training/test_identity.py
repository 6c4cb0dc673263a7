"""What makes rows alike."""

import pytest

from cmi_bench.data.datasets import MUSIC_EVAL
from cmi_bench.data.rows import Row
from cmi_bench.training.identity import audio_digests, clip_id, count_words, normalised_text
from cmi_bench.utils.files import file_digest


@pytest.mark.parametrize(
    ("one", "other"),
    [("Calm  piano\n", "calm PIANO"), ("Caf\u00e9", "Cafe\u0301"), ("ＡＢＣ", "abc"), ("Straße", "STRASSE"),
     ("a\u00a0b", "a b")],
)  # fmt: skip
def test_the_same_words_are_the_same_text(one, other):
    assert normalised_text(one) == normalised_text(other)


def test_other_words_are_not():
    assert normalised_text("calm piano") != normalised_text("calm piano!")


@pytest.mark.parametrize(("text", "words"), [("", 0), ("a calm, slow piece", 4), ("悲しいピアノ曲", 7), ("-", 0)])
def test_words_are_counted_in_scripts_without_spaces_too(text, words):
    assert count_words(text) == words


@pytest.mark.parametrize(
    ("path", "known_as"),
    [
        ("x/3F2504E0-4f89-11d3-9a0c-0305e82c3301_a.mp3", "3f2504e0-4f89-11d3-9a0c-0305e82c3301_a"),
        ("MusicArena_data/audio_files/01/0123456789abcdef.mp3", "0123456789abcdef"),
        ("y/clip-00112233445566778899aabbccddeeff.wav", "clip-00112233445566778899aabbccddeeff"),
        ("MusicEval_data/test_audio/12.wav", None),
        ("human_eval/music/musicgen/0001.wav", None),
        ("songs/deadbeefdeadbeefface.mp3", None),  # letters only: it may be a word
        ("songs/final_master_version_2.mp3", None),
    ],
)
def test_only_names_that_nothing_else_has_are_an_id(path, known_as):
    assert clip_id(Row(1, MUSIC_EVAL, path, None, None, "", "", {}), path) == known_as


def test_an_original_name_is_an_id_within_its_dataset():
    row = Row(1, MUSIC_EVAL, "test_audio/3.wav", None, None, "", "", {"original_name": "S007_P012.WAV"})
    assert clip_id(row, row.audio_a) == "musiceval/s007_p012"


def test_audio_digests_are_of_the_files_that_are_there(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"one")
    outside = tmp_path / "x" / "b.wav"
    outside.parent.mkdir()
    outside.write_bytes(b"two")
    rows = [Row(1, MUSIC_EVAL, path, None, None, "", "", {}) for path in ("a.wav", str(outside), "gone.wav")]
    assert audio_digests(tmp_path, tmp_path / "m.parquet", rows) == {
        "a.wav": file_digest(tmp_path / "a.wav"),
        str(outside): file_digest(outside),
    }
