"""`task=embed` as people run it: what it embeds, what it says, and several processes at one cache."""

import gzip
import json
import os
from collections import Counter
from pathlib import Path

import encoders
import pytest
from command_line import PROJECT, run_command
from warm_start import start_run, wait_until

from cmi_bench.errors import UserError
from cmi_bench.scoring.embedding_cache import EmbeddingCache

FILES, TEXTS = 15, 6


@pytest.fixture
def words(tiny, tmp_path):
    """The tiny rows, all of them for training; those of MusicEval for the benchmark as well."""
    lines = [json.loads(line) for line in (tiny / "all_test.jsonl").read_text().splitlines()]
    (tiny / "all_train.jsonl").write_text("".join(json.dumps(line | {"split": "train"}) + "\n" for line in lines))
    test = [json.dumps(line) + "\n" for line in lines if line["source"] == "MusicEval"]
    (tiny / "all_test.jsonl").write_text("".join(test))
    return (
        "task=embed", f"data_root={tiny}", f"cache.dir={tmp_path}/cache", "model=custom",
        "model.class_path=encoders:FrameEncoder", "max_dur=0.3", "workers=0", "batch_size=3",
    )  # fmt: skip


@pytest.fixture
def cache(tmp_path):
    return EmbeddingCache(tmp_path / "cache" / "embeddings")


def test_it_embeds_the_training_rows_and_says_what_it_did(run_here, words, cache, tmp_path, capsys):
    run_here(*words, "device=cpu", folder=tmp_path / "run")
    said = capsys.readouterr().out
    assert "Made 15 embeddings of audio and 6 of texts, pooled 0: " in said
    assert f"{cache.folder} holds 21 embeddings" in said
    metadata = json.loads((tmp_path / "run/metadata.json").read_text())
    assert metadata["status"] == "finished" and metadata["data"]["audio_files"] == FILES
    assert (metadata["counts"]["rows"], metadata["counts"]["failed"]) == (10, 0)
    assert not (tmp_path / "run/failed.json").exists()


@pytest.mark.parametrize(("chosen", "files"), [("data.split=test", 3), ("subset=pam", 3), ("limit=1", 6)])
def test_other_rows(run_here, words, tmp_path, capsys, chosen, files):
    run_here(*words, "device=cpu", chosen, folder=tmp_path / "run")
    assert f"Made {files} embeddings of audio" in capsys.readouterr().out


def test_a_table_of_ones_own(run_here, words, tiny, tmp_path, capsys):
    (tiny / "songs.csv").write_text("song,rating\npam/0.wav,3\npam/1.wav,4\n")
    own = ("data=custom", f"data.csv={tiny}/songs.csv", "data.scale=[1,5]", f"data.manifest={tmp_path}/manifest")
    run_here(*words, "device=cpu", *own, folder=tmp_path / "run")
    assert "Made 2 embeddings of audio and 1 of texts" in capsys.readouterr().out


def test_what_cannot_be_embedded_is_listed_at_the_end(run_here, words, tiny, tmp_path, capsys):
    (tiny / "pam/1.wav").write_bytes(b"no sound")
    with pytest.raises(UserError, match=r"No embedding for row 4 \(.*pam/1.wav\): Cannot decode"):
        run_here(*words, "device=cpu", folder=tmp_path / "run")
    run_here(*words, "device=cpu", "on_error=record", folder=tmp_path / "run")
    said = capsys.readouterr().out
    assert "1 could not be made" in said and "\n  row 4 (" in said
    (failed,) = json.loads((tmp_path / "run/failed.json").read_text())
    assert failed["name"].endswith("pam/1.wav") and failed["rows"] == [4]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (["model=random"], "model=random makes no embeddings."),
        (["cache=off", "cache.dir=null"], "cache=off keeps nothing, and task=embed fills the cache."),
        (["cache.dir=/proc/nowhere"], "The cache /proc/nowhere cannot be written"),
        (["data.train_jsonl=nowhere.jsonl"], "There are no training rows: nowhere.jsonl does not exist"),
        (["data.split=test", "data.jsonl=nowhere.jsonl"], "nowhere.jsonl does not exist"),
    ],
)
def test_mistakes_are_answered(run_here, words, tmp_path, wrong, says):
    kept = [word for word in words if not (word.startswith("model") and wrong[0].startswith("model"))]
    with pytest.raises(UserError) as error:
        run_here(*kept, "device=cpu", *wrong, folder=tmp_path / "run")
    assert error.value.what.startswith(says)


def test_several_models_embed_the_same_rows(run_here, words, tmp_path, capsys):
    also = "embed.also=[audio_statistics,'custom model.class_path=encoders:ShortEncoder']"
    run_here(*words, "device=cpu", also, "profile=true", folder=tmp_path / "run")
    assert f"Made {3 * FILES} embeddings of audio" in capsys.readouterr().out
    metadata = json.loads((tmp_path / "run/metadata.json").read_text())
    assert metadata["model"]["class"].endswith(".FrameEncoder")
    classes = [one["class"].rpartition(".")[2] for one in metadata["also"].values()]
    assert classes == ["AudioStatistics", "ShortEncoder"]
    with gzip.open(tmp_path / "run/trace.json.gz") as trace:
        assert "decode" in {event["name"] for event in json.load(trace)["traceEvents"]}


def test_a_further_model_that_embeds_nothing_is_refused(run_here, words, tmp_path):
    with pytest.raises(UserError, match=r"model=random makes no embeddings\."):
        run_here(*words, "device=cpu", "embed.also=[random]", folder=tmp_path / "run")


def test_the_command_has_a_name(tmp_path):
    done = run_command("task=embed", "--help", cwd=tmp_path)
    assert done.returncode == 0 and "Fill the embedding cache" in done.stdout


class Logged:
    """Commands in processes of their own, whose encoder writes down what it encodes."""

    def __init__(self, words, tmp_path):
        self.words, self.log, self.folder = words, tmp_path / "encoded.txt", tmp_path
        helpers = os.pathsep.join([str(PROJECT), str(Path(encoders.__file__).parent)])
        self.environment = {**os.environ, "PYTHONPATH": helpers, encoders.LOG: str(self.log)}

    def start(self, *words, name="run"):
        words = (*self.words, *words, f"hydra.run.dir={self.folder}/{name}")
        return start_run(*words, folder=self.folder, environment=self.environment)

    def encoded(self):
        return Counter(self.log.read_text().split()) if self.log.exists() else Counter()


@pytest.fixture
def logged(words, tmp_path):
    return Logged([word for word in words if not word.startswith("batch_size")], tmp_path)


@pytest.mark.slow
def test_what_was_killed_goes_on(logged, cache):
    """Whatever is in the cache when the process is killed is not encoded again."""
    for kill in range(2):
        begun = logged.encoded().total()
        process = logged.start("device=cpu", "batch_size=1", name=f"killed{kill}")
        wait_until(lambda begun=begun: logged.encoded().total() >= begun + 3, process)
        process.kill()
        process.wait()
    assert 0 < len(logged.encoded()) < FILES
    logged.start("device=cpu", "batch_size=1").finish()
    encoded = logged.encoded()
    assert len(encoded) == FILES
    assert encoded.total() <= FILES + 2  # the one that each kill met
    assert cache.size().entries == FILES + TEXTS
    assert not list(cache.folder.rglob("*.tmp"))


@pytest.mark.slow
def test_two_processes_of_one_run_share_the_work(logged, cache):
    output = logged.start("device=cpu_ddp", "batch_size=2").finish()
    assert logged.encoded().total() == len(logged.encoded()) == FILES
    assert "Made 15 embeddings of audio and 6 of texts" in output
    assert cache.size().entries == FILES + TEXTS


@pytest.mark.slow
def test_two_runs_at_one_cache_share_the_work(logged, cache):
    both = [logged.start("device=cpu", "batch_size=1", name=name) for name in ("one", "other")]
    outputs = [process.finish() for process in both]
    encoded = logged.encoded()
    assert len(encoded) == FILES and encoded.total() <= FILES + 2  # at most those that both were at
    # What both were at is written twice: nobody waits for another.
    assert FILES + TEXTS <= cache.size().entries <= encoded.total() + 2 * TEXTS
    assert all("embeddings (" in output for output in outputs)
