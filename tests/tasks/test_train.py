"""`task=train` in this process: what it may look at, and what it refuses."""

import json

import numpy as np
import pytest
from command_line import run_task_here
from opened_files import opened_files
from own_tables import write_song, write_table

from cmi_bench.errors import UserError
from cmi_bench.models.trained import TrainedModel

QUICK = (
    *("model=audio_statistics", "recipe=small", "train.max_steps=4", "train.validate_every=2", "tracking=none"),
    *("metrics.resamples=0", "metrics.report=false"),
)


@pytest.fixture
def own(tmp_path):
    """Rated songs of one's own, and beside them the benchmark's test rows, whose audio nothing can decode."""
    songs = tmp_path / "songs"
    rows = []
    for at in range(24):
        write_song(songs / f"{at}.wav", hertz=150 + 20 * at, noise=at / 60)
        rows.append({"song": f"{at}.wav", "prompt": f"a tone with the number {at % 12}", "rating": 10 - at // 3})
    write_table(songs / "ratings.csv", rows)
    root = tmp_path / "benchmark"
    (root / "pam").mkdir(parents=True)
    for at in range(3):
        (root / "pam" / f"{at}.wav").write_bytes(f"no audio {at}".encode())
    test = [{"source": "PAM", "split": "test", "audio-path": f"pam/{at}.wav", "musicality": 3} for at in range(3)]
    (root / "all_test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in test))
    return songs, root


def train(own, folder, *words):
    songs, root = own
    data = ["data=custom", f"data.csv={songs}/ratings.csv", "data.scale=[0,10]", f"data_root={root}"]
    run_task_here("task=train", *data, *QUICK, f"cache.dir={folder}/cache", "workers=0", *words, folder=folder / "run")


@pytest.mark.slow
def test_training_reads_nothing_of_test_audio_but_digests(own, tmp_path):
    with opened_files() as opened:
        train(own, tmp_path)
        assert {name for name in opened if "/pam/" in name and name.endswith(".wav")}
        opened.clear()
        train(own, tmp_path, "resume=false")  # the manifest has the digests
        assert [name for name in opened if "/pam/" in name and name.endswith(".wav")] == []
    guards = json.loads((tmp_path / "run/metadata.json").read_text())["guards"]
    assert (guards["test_rows"], guards["test_rows_without_digest"], guards["left_out"]) == ({"PAM": 3}, 0, 0)
    assert (
        "Compared with the test rows of PAM 3." in next((tmp_path / "run/checkpoints").glob("*/README.md")).read_text()
    )


def test_songs_of_a_test_set_are_refused_before_anything_is_computed(own, tmp_path):
    songs, root = own
    (root / "pam/1.wav").write_bytes((songs / "7.wav").read_bytes())
    with pytest.raises(UserError, match=r"1 of 24 training rows are in a test set \(by audio 1\)") as error:
        train(own, tmp_path)
    assert f"ratings.csv, line 9: audio-path is audio of {root}/all_test.jsonl, line 2 (PAM)" in error.value.what
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["contaminated.jsonl"]


@pytest.mark.slow
def test_several_seeds_make_one_model_and_what_is_trained_is_not_trained_again(own, tmp_path):
    def weights(folder):
        return {path.name: (path / "model.safetensors").read_bytes() for path in folder.glob("checkpoints/*")}

    def members():
        return json.loads((tmp_path / "run/metadata.json").read_text())["training"]["members"]

    train(own, tmp_path, "seeds=2")
    run = tmp_path / "run"
    assert [members()[seed]["resumed_from"] for seed in ("0", "1")] == [None, None]
    before = {seed: weights(run / f"seed_{seed}") for seed in (0, 1)}
    assert before[0] != before[1]

    train(own, tmp_path / "alone", "seed=1")
    assert weights(tmp_path / "alone" / "run") == before[1]

    train(own, tmp_path, "seeds=3")
    assert [members()[seed]["resumed_from"] for seed in ("0", "1", "2")] == [4, 4, None]
    assert {seed: weights(run / f"seed_{seed}") for seed in (0, 1)} == before
    assert len(TrainedModel(str(run / "ensemble")).heads) == 3
    for line in (run / "results.jsonl").read_text().splitlines():
        row = json.loads(line)
        said = row["predicted_musicality_members"]
        assert row["predicted_musicality"] == pytest.approx(np.mean(said))
        assert row["predicted_musicality_spread"] == pytest.approx(np.std(said, ddof=1))
    assert "an ensemble of 3 heads" in (run / "ensemble/README.md").read_text()
