"""A catalogue on a Ray cluster: what the local engine makes, whatever dies meanwhile; a message for each mistake."""

import logging
import os
import socket
import sys
from collections import Counter
from pathlib import Path

import pytest
from catalogues import Stream, part_bytes
from cluster_models import DyingLoader, NotedModel
from own_tables import write_song

from cmi_bench.catalogue.local import LocalEngine
from cmi_bench.catalogue.output import ScoreFolder
from cmi_bench.catalogue.run import CatalogueScores, score_catalogue
from cmi_bench.data.audio_info import FileIndex
from cmi_bench.errors import RunError, UserError
from cmi_bench.hydra_compose import compose_config
from cmi_bench.scoring.batching import BatchLimits
from cmi_bench.scoring.model_call import ModelCall
from cmi_bench.scoring.requests import deduplicate
from cmi_bench.scoring.run_stats import RunStats
from cmi_bench.scoring.stages import WholeStage
from cmi_bench.types import Clip

SONGS = 10
BROKEN = "7.wav"


def samples(number):
    """Return how many samples the model gets of a song."""
    return 3200 + 80 * number


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    """A folder of songs; one of those that the requests name is no audio, and the last one is not there."""
    folder = tmp_path_factory.mktemp("songs")
    for number in range(SONGS - 1):
        write_song(folder / f"{number}.wav", hertz=200.0 + 20 * number, seconds=samples(number) / 8000)
    (folder / f"broken{BROKEN}").write_bytes(b"no audio")
    return folder


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A cluster of two processors on this machine, which the tests' engines use; its workers find the tests' models."""
    import ray

    with pytest.MonkeyPatch.context() as patch:
        helpers = str(Path(sys.modules[NotedModel.__module__].__file__).parent)
        patch.setenv("PYTHONPATH", os.pathsep.join([helpers, os.environ.get("PYTHONPATH", "")]))
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))  # where Ray keeps a cluster's token
        ray.init(
            address="local",
            num_cpus=2,
            object_store_memory=100_000_000,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
        try:
            yield
        finally:
            ray.shutdown()


def noted(folder, cache="cache", **how):
    """Return a configuration whose model writes into folder/notes.txt, and what it has written."""
    options = {"class_path": "cluster_models:NotedModel", "init_kwargs": {"notes": str(folder / "notes.txt"), **how}}
    values = {"cache.dir": str(folder / cache), "on_error": "record", "batch_size": 2}
    return compose_config("custom", options, values=values)


def notes(folder):
    """Return how often each song was scored, by its number of samples."""
    return Counter((folder / "notes.txt").read_text().split())


def on_cluster(config, root, out, workers=1):
    from cmi_bench.catalogue.ray_engine import RayEngine

    with RayEngine(config, workers=workers) as engine:
        return score_catalogue(Stream(root, SONGS, broken=[BROKEN]), ScoreFolder(out), engine, size=3)


def here(config, root, out):
    return score_catalogue(Stream(root, SONGS, broken=[BROKEN]), ScoreFolder(out), LocalEngine(config, "cpu"), size=3)


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_no_score_and_none_is_made_twice(cluster, songs, tmp_path, caplog):
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    config = noted(one, dies_at=samples(4))
    assert on_cluster(config, songs, tmp_path / "ray", workers=2) == CatalogueScores(SONGS, 2)
    assert any("died while it scored part 1, which is begun again" in message for message in caplog.messages)
    assert here(noted(other), songs, tmp_path / "local") == CatalogueScores(SONGS, 2)
    assert part_bytes(tmp_path / "ray") == part_bytes(tmp_path / "local")
    once = Counter(str(samples(number)) for number in range(SONGS - 1) if f"{number}.wav" != BROKEN)
    assert notes(one) == notes(other) == once

    # What was stored is looked up, on whatever machine.
    on_cluster(config, songs, tmp_path / "again")
    assert notes(one) == once
    assert part_bytes(tmp_path / "again") == part_bytes(tmp_path / "local")


@pytest.mark.slow
def test_embeddings_of_fetched_audio_are_those_of_the_local_engine(cluster, songs, tmp_path):
    options = {"class_path": "encoders:FrameEncoder", "init_kwargs": {"fail": [samples(2)]}}
    config = compose_config("custom", options, values={"on_error": "record", "batch_size": 2}, overrides=["cache=off"])
    address = f"simplecache::file://{songs}"
    assert on_cluster(config, address, tmp_path / "ray") == CatalogueScores(SONGS, 3)
    here(config, address, tmp_path / "local")
    assert part_bytes(tmp_path / "ray") == part_bytes(tmp_path / "local")


@pytest.mark.slow
def test_a_file_that_kills_each_process_which_reads_it_costs_the_others_nothing(cluster, tmp_path, monkeypatch):
    from cmi_bench.catalogue.ray_worker import ClusterRunner

    monkeypatch.setattr("cmi_bench.catalogue.ray_worker.RETRIES", 1)
    (tmp_path / "notes.txt").touch()
    for number in range(4):
        write_song(tmp_path / f"{number}.wav", hertz=200.0, seconds=samples(number) / 8000)
    clips = [Clip(f"{number}:a", tmp_path / f"{number}.wav") for number in range(4)]
    call = ModelCall(NotedModel(str(tmp_path / "notes.txt")), 120.0)
    plan = deduplicate(clips, call, FileIndex())
    stage = WholeStage(plan.requests, call, RunStats())
    stage.load = DyingLoader("waveform", 8000, 120.0, once="0.wav", always="2.wav")
    found = {}

    class Keep:
        stopped = False

        def write(self, scores):
            found.update(scores)

    ClusterRunner(BatchLimits(3, 100.0), workers=1, ahead=2).run(stage, Keep())
    errors = [found[plan.key_of[clip.clip_id]].error for clip in clips]
    assert errors == ["", "", f"{clips[2].audio}: the process that decodes it died 2 times", ""]
    assert notes(tmp_path) == {"3200": 1, "3280": 1, "3440": 1}
    assert (tmp_path / "0.died").exists()


@pytest.mark.slow
def test_what_no_song_is_to_blame_for_ends_the_run_with_its_message(cluster, songs, tmp_path, monkeypatch):
    monkeypatch.setattr("cmi_bench.catalogue.ray_engine.ATTEMPTS", 1)
    with pytest.raises(RunError, match="1 workers died while they scored part 1"):
        on_cluster(noted(tmp_path, dies_at=-samples(4)), songs, tmp_path / "a")
    assert sorted(part_bytes(tmp_path / "a")) == ["part-000000.parquet"]
    with pytest.raises(RunError, match=r"The model gives up\."):
        on_cluster(noted(tmp_path, "other", gives_up_at=samples(1)), songs, tmp_path / "b")


def test_an_address_where_no_cluster_is():
    from cmi_bench.catalogue.ray_engine import check_address

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        for address in (f"127.0.0.1:{free.getsockname()[1]}", "127.0.0.1:99999"):
            with pytest.raises(UserError, match=rf"no Ray cluster at --address {address} (?s:.*)ray start"):
                check_address(address)
    with pytest.raises(UserError, match="an address of Ray's client"):
        check_address("ray://127.0.0.1:10001")


def test_without_ray(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "cmi_bench.catalogue.ray_engine", raising=False)
    with pytest.raises(UserError, match=r"--engine ray needs the package ray: (?s:.*)\[ray\]"):
        import cmi_bench.catalogue.ray_engine  # noqa: F401
