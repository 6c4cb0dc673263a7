import json

import numpy as np
import pytest
import soundfile

from cmi_bench.data.audio_info import AudioHeaders, DurationTable, read_durations, row_seconds
from cmi_bench.errors import UserError


def test_a_clip_is_looked_up_by_path_then_slashes_then_name():
    table = DurationTable({"x/a.wav": 1.0, "a.wav": 2.0, "x\\c.wav": 3.0})
    assert table.seconds("x/a.wav") == 1.0
    assert table.seconds("x\\a.wav") == 1.0
    assert table.seconds("x\\c.wav") == 3.0
    assert table.seconds("elsewhere/a.wav") == 2.0
    assert table.seconds("elsewhere/b.wav") is None


def test_a_pairs_duration_is_the_mean_or_that_of_the_one_known():
    table = DurationTable({"a": 10.0, "b": 30.0})
    assert row_seconds({"audio-path": "a", "audio2": "b"}, table) == 20.0
    assert row_seconds({"audio-path": "a", "audio2": "x"}, table) == 10.0
    assert row_seconds({"audio-path": None, "audio2": "b"}, table) == 30.0
    assert row_seconds({"audio-path": "x"}, table) is None


def test_headers_are_read_from_files_under_the_root(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(4000), 16000)
    (tmp_path / "broken.wav").write_bytes(b"no audio")
    headers = AudioHeaders(tmp_path)
    assert headers.seconds("a.wav") == 0.25
    assert headers.seconds("broken.wav") is None
    assert headers.seconds("missing.wav") is None


def test_a_file_is_asked_once(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(4000), 16000)
    headers = AudioHeaders(tmp_path)
    headers.seconds("a.wav")
    (tmp_path / "a.wav").unlink()
    assert headers.seconds("a.wav") == 0.25


def test_a_file_of_durations_is_read(tmp_path):
    path = tmp_path / "durations.json"
    path.write_text(json.dumps({"a": 1, "b": 2.5}))
    assert read_durations(path).by_path == {"a": 1.0, "b": 2.5}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[1]", "a JSON list, not an object"),
        ("{", "cannot be read as JSON"),
        ('{"a": "long"}', "'a' is 'long', not a number of seconds"),
        ('{"a": -1}', "'a' is -1"),
        ('{"a": NaN}', "'a' is nan"),
        ('{"a": true}', "'a' is True"),
    ],
)
def test_what_is_no_table_of_durations_is_refused(tmp_path, text, complaint):
    path = tmp_path / "durations.json"
    path.write_text(text)
    with pytest.raises(UserError, match=complaint):
        read_durations(path)


def test_a_missing_file_of_durations_is_named(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        read_durations(tmp_path / "none.json")
