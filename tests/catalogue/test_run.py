"""A catalogue's parts: resumed by what is there, the same whoever makes them, and never mixed with others."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import fsspec
import pytest
from catalogues import SCORED_WITH, NameEngine, Stream, column, part_bytes
from own_tables import write_table
from pyarrow import parquet
from s3_bucket import s3_bucket

from cmi_bench.catalogue.audio import SongFiles
from cmi_bench.catalogue.output import ScoreFolder
from cmi_bench.catalogue.parts import Shard
from cmi_bench.catalogue.requests import open_requests
from cmi_bench.catalogue.run import CatalogueScores, score_catalogue
from cmi_bench.data.audio_info import FileFacts
from cmi_bench.errors import UserError

BROKEN = ("3.wav", "20.wav")


def score(folder, engine=None, *, stream=None, **given):
    stream = Stream(folder.parent, 23, broken=BROKEN) if stream is None else stream
    return score_catalogue(stream, ScoreFolder(folder), engine or NameEngine(), **{"size": 4, **given})


def test_one_row_for_each_request_in_order(tmp_path):
    assert score(tmp_path / "s", NameEngine(order=reversed_list)) == CatalogueScores(23, 2)
    assert column(tmp_path / "s", "audio") == Stream(tmp_path, 23, broken=BROKEN).whole["audio"].to_pylist()
    assert [bool(error) for error in column(tmp_path / "s", "error")] == [number in (3, 20) for number in range(23)]
    assert column(tmp_path / "s", "musicality")[3] is None
    assert not list(tmp_path.glob("s/*.tmp"))


def reversed_list(parts):
    return list(parts)[::-1]


def test_shards_together_are_the_whole_to_the_byte(tmp_path):
    score(tmp_path / "whole")
    for number in (7, 3, 1, 2, 6, 5, 4):
        score(tmp_path / "shards", stream=Stream(tmp_path, 5, 0, 18, broken=BROKEN), shard=Shard(number, 7))
    assert part_bytes(tmp_path / "shards") == part_bytes(tmp_path / "whole")
    assert (tmp_path / "shards/failed.parquet").read_bytes() == (tmp_path / "whole/failed.parquet").read_bytes()


def test_what_is_there_is_not_scored_again(tmp_path):
    score(tmp_path / "s")
    first = part_bytes(tmp_path / "s")
    (tmp_path / "s/part-000001.parquet").unlink()
    (tmp_path / "s/part-000002.parquet").write_bytes(first["part-000002.parquet"][:-9])  # as a disk may leave it
    (tmp_path / "s/part-000003.parquet").write_bytes(b"")
    (tmp_path / "s/.part-000003.parquet.0.tmp").write_bytes(b"PAR1")  # of a process that was killed as it wrote
    again = NameEngine()
    score(tmp_path / "s", again)
    assert again.scored == [1, 2, 3]
    assert part_bytes(tmp_path / "s") == first
    assert not list(tmp_path.glob("s/.*.tmp"))


def test_songs_that_failed_are_listed_and_tried_again(tmp_path):
    score(tmp_path / "s")
    failed = parquet.read_table(tmp_path / "s/failed.parquet").to_pylist()
    assert [(one["audio"], one["error"]) for one in failed] == [
        ("broken3.wav", "Cannot decode broken3.wav"),
        ("broken20.wav", "Cannot decode broken20.wav"),
    ]
    again = NameEngine(mended=True)
    assert score(tmp_path / "s", again) == CatalogueScores(23, 2)
    assert score(tmp_path / "s", again, retry_failed=True) == CatalogueScores(23, 0)
    assert again.scored == [0, 5]
    assert not (tmp_path / "s/failed.parquet").exists()


def test_another_process_that_finishes_meanwhile_is_in_the_list_of_failures(tmp_path, monkeypatch):
    score(tmp_path / "s", shard=Shard(1, 6))
    write, other = ScoreFolder._write_failed, [Shard(6, 6)]

    def write_late(folder, numbers):
        if other:
            score(tmp_path / "s", shard=other.pop())
        write(folder, numbers)

    monkeypatch.setattr(ScoreFolder, "_write_failed", write_late)
    score(tmp_path / "s", shard=Shard(2, 6))
    assert parquet.read_table(tmp_path / "s/failed.parquet")["audio"].to_pylist() == ["broken3.wav", "broken20.wav"]


@pytest.mark.parametrize(
    ("engine", "given", "says"),
    [
        (NameEngine(replace(SCORED_WITH, identity="names-2")), {}, "identity: names-1, not names-2"),
        (NameEngine(replace(SCORED_WITH, settings={"max_dur": 60.0})), {}, "max_dur: 120.0, not 60.0"),
        (None, {"size": 3}, "part_size: 4, not 3"),
        (None, {"size": 3, "shard": Shard(2, 2)}, "part_size: 4, not 3"),
        (
            None,
            {"size": 30},
            "s holds part-000005.parquet, and 23 requests in parts of 30 end with part-000000.parquet",
        ),
    ],
)
def test_what_the_folder_holds_is_of_something_else(tmp_path, engine, given, says):
    score(tmp_path / "s")
    before = part_bytes(tmp_path / "s")
    with pytest.raises(UserError, match=says):
        score(tmp_path / "s", engine, **given)
    assert part_bytes(tmp_path / "s") == before


def test_requests_that_have_changed(tmp_path):
    score(tmp_path / "s")
    with pytest.raises(UserError, match=r"s/part-000005.parquet answers other requests .* those from 21 to 23"):
        score(tmp_path / "s", stream=Stream(tmp_path, 23, broken=("3.wav", "21.wav")))


def test_a_column_that_scores_would_overwrite(tmp_path):
    stream = Stream(tmp_path, 3)
    stream.whole = stream.whole.append_column("error", [["x", "y", "z"]])
    with pytest.raises(UserError, match="a column of their own called error"):
        score(tmp_path / "s", stream=stream)


def test_two_processes_with_the_same_work(tmp_path, monkeypatch):
    monkeypatch.setattr("cmi_bench.catalogue.run.TELL_SECONDS", 0.0)
    said = []

    def second():
        with pytest.raises(UserError) as error:
            score(tmp_path / "s")
        said.append(str(error.value))

    def order(parts):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
        return list(parts)

    score(tmp_path / "s", NameEngine(order=order))
    assert "scores shard 1/1 into" in said[0]


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is no folder"):
        score(tmp_path / "file")
    engine = NameEngine()
    with pytest.raises(UserError, match="Cannot write to"):
        score(tmp_path / "file" / "below", engine)
    assert engine.scored == []


def test_an_address_of_fsspec(tmp_path):
    place = f"memory://{tmp_path.name}/s"
    stream = Stream(tmp_path, 23, broken=BROKEN)
    assert score_catalogue(stream, ScoreFolder(place), NameEngine(), size=4) == CatalogueScores(23, 2)
    again = NameEngine(mended=True)
    assert score_catalogue(stream, ScoreFolder(place), again, size=4, retry_failed=True) == CatalogueScores(23, 0)
    assert again.scored == [0, 5]
    assert ScoreFolder(place).numbers() == list(range(6))


@pytest.fixture
def s3():
    with s3_bucket("songs") as address:
        yield address


@pytest.mark.slow
def test_requests_songs_and_scores_in_s3(s3, tmp_path):
    """The table, the songs that it names and the parts are objects; another machine goes on from them."""
    names = [f"{number}.wav" if number % 4 else f"broken{number}.wav" for number in range(10)]
    table = write_table(tmp_path / "r.parquet", [{"audio": f"audio/{name}"} for name in names])
    filesystem = fsspec.filesystem("s3")
    filesystem.put_file(table, "songs/r.parquet")
    filesystem.pipe({f"songs/audio/{name}": name.encode() for name in names})

    class Fetching(NameEngine):
        def score(self, parts):
            for part in parts:
                places = [song.audio for song in part.songs()]
                with ThreadPoolExecutor(4) as pool, SongFiles(places, tmp_path / "fetched", pool, content) as files:
                    said = [files.facts(files.path(place)).digest for place in places]
                yield part, [self.answer(name) for name in said]

    def content(path):
        return FileFacts(path.read_text(), None)

    first = {"size": 3, "shard": Shard(1, 2)}
    assert (
        score_catalogue(open_requests(f"{s3}/r.parquet"), ScoreFolder(f"{s3}/scores"), Fetching(), **first).failed == 2
    )
    filesystem.pipe_file("songs/scores/part-000002.parquet", b"PAR1 cut off")
    found = score_catalogue(open_requests(f"{s3}/audio"), ScoreFolder(f"{s3}/own"), Fetching(), size=3)
    assert found == CatalogueScores(10, 3)
    assert score_catalogue(open_requests(f"{s3}/r.parquet"), ScoreFolder(f"{s3}/scores"), Fetching(), size=3) == found
    filesystem.invalidate_cache()
    assert [path.rpartition("/")[2] for path in filesystem.ls("songs/scores", detail=False)] == [
        "failed.parquet",
        *(f"part-00000{number}.parquet" for number in range(4)),
    ]
    filesystem.get_file("songs/scores/failed.parquet", str(tmp_path / "failed.parquet"))
    assert parquet.read_table(tmp_path / "failed.parquet")["error"].to_pylist() == [
        f"Cannot decode broken{number}.wav" for number in (0, 4, 8)
    ]
    with pytest.raises(UserError, match=r"Cannot write to s3://nowhere/scores: The specified bucket does not exist"):
        score_catalogue(open_requests(f"{s3}/audio"), ScoreFolder("s3://nowhere/scores"), NameEngine())
