"""A process's temporary folder: gone when it ends, and gone with the next one where it was killed."""

import pytest

from cmi_bench.utils.workspace import workspace


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def test_it_goes_with_the_block(tmp_path):
    with pytest.raises(KeyboardInterrupt), workspace() as folder:
        (folder / "x").write_text("x")
        raise KeyboardInterrupt
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert not folder.exists()


def test_what_a_killed_process_left_goes_and_what_is_in_use_stays(tmp_path):
    with workspace() as first:
        left = first.parent / "left"
        (left / "audio0").mkdir(parents=True)
        left.with_suffix(".lock").touch()
        with workspace() as second:
            assert first.is_dir()
            assert second.is_dir()
        assert not left.exists()
        assert not left.with_suffix(".lock").exists()
        assert first.is_dir()
