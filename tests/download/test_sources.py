"""Where audio comes from: archives and tables are unpacked, and nothing in them leads out of the data root."""

import io

import numpy as np
import pytest
import soundfile
from tiny_dataset import assert_complete, audio, table, zipped

from cmi_bench.errors import UserError

ZIP = "human_eval.zip"


def test_music_eval_keeps_the_samples_form_and_order(root, prepare):
    prepare()
    samples, sr = soundfile.read(root / "MusicEval_data/test_audio/2.wav", dtype="int16")
    wanted, _ = soundfile.read(io.BytesIO(audio(320, container="FLAC")), dtype="int16")
    np.testing.assert_array_equal(samples, wanted)
    assert soundfile.info(root / "MusicEval_data/test_audio/2.wav").subtype == "PCM_16"
    assert sr == 16000


def test_an_archive_that_was_not_unpacked_is_not_fetched_again(hub, root, prepare):
    archive = root / ".prepare/pam/human_eval.zip"
    archive.parent.mkdir(parents=True)
    archive.write_bytes(hub.record["human_eval.zip"])
    prepare()
    assert_complete(root, hub)
    assert not hub.requests_for("/content")


@pytest.mark.parametrize(
    "name", ["human_eval/music/../../../out.wav", "../out.wav", "/tmp/out.wav", "human_eval\\..\\..\\out.wav"]
)
def test_an_archive_whose_names_lead_out_is_refused(hub, root, prepare, name):
    hub.record["human_eval.zip"] = zipped({"human_eval/music/a/0.wav": audio(100), name: b"evil"})
    with pytest.raises(UserError, match="leads out of its folder"):
        prepare("subset=pam")
    assert not list(root.parent.rglob("out.wav"))
    assert not (root / "human_eval").exists()


def test_an_archive_with_a_member_that_is_damaged_inside(hub, root, prepare):
    content = bytearray(hub.record[ZIP])
    inside = content.index(audio(100 + ord("a"))[44:]) + 3000
    content[inside] ^= 1  # the record's checksum is of this content: only the zip file's own tells
    hub.record[ZIP] = bytes(content)
    with pytest.raises(UserError, match=r"human_eval\.zip is damaged: Bad CRC-32"):
        prepare("subset=pam")
    assert not (root / "human_eval/music/a/0.wav").exists()
    assert not list(root.rglob("*.partial"))


def test_files_that_upstream_no_longer_has(hub, root, prepare):
    del hub.repos["dataset", "HaiwenXia/cmi-pref"]["gen-audio/1b.mp3"]
    with pytest.raises(UserError, match=r"HaiwenXia/cmi-pref has no cmi-pref/gen-audio/1b\.mp3"):
        prepare()


def test_a_table_with_fewer_clips_than_the_rows_name(hub, root, prepare):
    hub.repos["dataset", "BAAI/MusicEval"]["data/test-00000-of-00001.parquet"] = table([audio(300)])
    with pytest.raises(UserError, match=r"has 1 clips, but no MusicEval_data/test_audio/1\.wav"):
        prepare("subset=musiceval")


@pytest.mark.parametrize("content", [b"version https://git-lfs.github.com/spec/v1\n", b"<html>not found</html>", b""])
def test_a_rows_file_that_is_none(hub, root, prepare, content):
    hub.files["data/all_test.jsonl"] = content
    with pytest.raises(UserError, match=r"all_test\.jsonl from The server of the rows' files is not what was promised"):
        prepare()
    assert not (root / "all_test.jsonl").exists()
