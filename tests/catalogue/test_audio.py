"""Audio at hand: local files where they are, remote ones fetched once and gone afterwards, each failure its own."""

import errno
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import pytest

from cmi_bench.catalogue.audio import SongFiles
from cmi_bench.data.audio_info import FileFacts
from cmi_bench.errors import RunError


class Looks:
    """Looks at files, and remembers at which."""

    def __init__(self):
        self.seen = []

    def __call__(self, path):
        self.seen.append(path)
        return FileFacts(path.read_bytes().hex(), 1.0)


@pytest.fixture
def pool():
    with ThreadPoolExecutor(4) as found:
        yield found


@pytest.fixture
def bucket(tmp_path):
    return f"memory://{tmp_path.name}"


def test_local_files_stay_where_they_are(tmp_path, pool):
    (tmp_path / "a.wav").write_bytes(b"a")
    looks = Looks()
    with SongFiles([tmp_path / "a.wav"] * 3, tmp_path / "fetched", pool, looks) as files:
        assert files.path(tmp_path / "a.wav") == tmp_path / "a.wav"
        assert files.facts(tmp_path / "a.wav").digest == "61"
    assert looks.seen == [tmp_path / "a.wav"]
    assert not (tmp_path / "fetched").exists()


def test_remote_files_are_here_for_as_long_as_they_are_needed(tmp_path, pool, bucket):
    places = [f"{bucket}/a.wav", f"{bucket}/below/a.mp3", f"{bucket}/a.wav"]
    for place, content in zip(places, (b"a", b"b", b"a"), strict=True):
        fsspec.filesystem("memory").pipe(place, content)
    looks = Looks()
    with SongFiles(places, tmp_path / "fetched", pool, looks) as files:
        paths = [files.path(place) for place in places]
        assert [files.facts(path).digest for path in paths] == ["61", "62", "61"]
        assert [path.suffix for path in paths] == [".wav", ".mp3", ".wav"]
        files.check_reachable()
    assert len(looks.seen) == 2
    assert not (tmp_path / "fetched").exists()


@pytest.mark.parametrize("place", ["/gone.wav", "memory://gone.wav", "nowhere://gone.wav"])
def test_what_cannot_be_had_fails_by_itself(tmp_path, pool, bucket, place):
    fsspec.filesystem("memory").pipe(f"{bucket}/a.wav", b"a")
    place = Path(place) if place.startswith("/") else place
    with SongFiles([place, f"{bucket}/a.wav"], tmp_path / "fetched", pool, Looks()) as files:
        with pytest.raises(OSError, match=r".") as error:
            files.facts(files.path(place))
        assert (error.value.filename, bool(error.value.strerror)) == (str(place), True)
        assert files.facts(files.path(f"{bucket}/a.wav")).digest == "61"
        files.check_reachable()


def test_a_network_that_is_gone_is_no_songs_fault(tmp_path, pool, bucket, monkeypatch):
    def get_file(filesystem, remote, path, **given):
        if remote.endswith("3.wav"):
            raise FileNotFoundError(remote)
        raise ConnectionError("Could not connect to the endpoint")

    places = [f"{bucket}/{number}.wav" for number in range(9)]
    monkeypatch.setattr("fsspec.implementations.memory.MemoryFileSystem.get_file", get_file)
    with SongFiles(places, tmp_path / "some", pool, Looks()) as files:
        files.check_reachable()
    places.remove(f"{bucket}/3.wav")
    with (
        SongFiles(places, tmp_path / "none", pool, Looks()) as files,
        pytest.raises(RunError, match=r"None of 8 songs could be fetched, .*: Could not connect to the endpoint"),
    ):
        files.check_reachable()


def test_a_full_disk_is_no_songs_fault(tmp_path, pool, bucket, monkeypatch):
    def get_file(filesystem, remote, path, **given):
        Path(path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("fsspec.implementations.memory.MemoryFileSystem.get_file", get_file)
    with (
        SongFiles([f"{bucket}/a.wav"], tmp_path / "fetched", pool, Looks()) as files,
        pytest.raises(RunError, match="is full: audio is fetched to it"),
    ):
        files.facts(files.path(f"{bucket}/a.wav"))
