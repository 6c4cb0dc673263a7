"""`task=benchmark` in this process: what a run leaves, failures, CMI-RM's shared embeddings, MLflow."""

import json
import shutil
import sys
from pathlib import Path

import pytest
from command_line import PROJECT, run_command
from mlflow import MlflowClient
from mlflow_server import free_port, mlflow_server
from parity_rows import BUNDLE, write_parity_rows
from quick_runs import MODELS, cmi_rm_words, mini_words, read_rows, read_scores, read_summary
from safetensors.torch import load_file, save_file
from tiny_clap import save_small_clap

from cmi_bench.errors import UserError
from cmi_bench.scoring import requests
from cmi_bench.tasks import scoring
from cmi_bench.tasks.scoring import facts_afterwards
from cmi_bench.utils import spool


@pytest.fixture
def mini(mini_root):
    return mini_root


def accuracies(folder):
    return {key: float(row["ACC"]) for key, row in read_summary(folder).items() if row["ACC"]}


OUTPUTS = {
    "results.jsonl",
    "metrics_summary.csv",
    "metrics_detail.csv",
    "metrics.json",
    "latex.txt",
    "report.html",
    "plots",
    "metadata.json",
    "config.yaml",
    "run.log",
}


@pytest.mark.slow
def test_signal_on_mini_leaves_every_output_in_the_run_folder(mini, tmp_path):
    before = set((PROJECT / "outputs").iterdir())
    words = ["model=signal", "+device=cpu", "limit=6", "metrics.report=true", "metrics.resamples=100"]
    done = run_command(*mini_words(mini), *words, f"hydra.run.dir={tmp_path}/run")
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "run").iterdir()} >= OUTPUTS
    assert set((PROJECT / "outputs").iterdir()) == before
    assert "CMI-Pref" in done.stdout
    assert str(tmp_path / "run") in done.stdout
    metadata = json.loads((tmp_path / "run/metadata.json").read_text())
    assert metadata["status"] == "finished"
    assert metadata["counts"]["scored"] == metadata["counts"]["clips"] == 36
    data = metadata["data"]
    assert data["audio_files"] > 20
    assert data["audio_decoders"] == {"soundfile": data["audio_files"]}
    assert {len(data[key]) for key in ("audio_sha256", "manifest_sha256", "jsonl_sha256")} == {64}
    assert metadata["counts"]["failed"] == 0
    assert metadata["config"]["seed"] == 0
    assert set(metadata["counts"]["rows"]) == {"PAM", "MusicEval", "MusicArena", "CMI-Pref"}
    assert sum(metadata["counts"]["rows"].values()) == len(read_rows(tmp_path / "run")) == 24


@pytest.mark.parametrize(("model", "expected"), [("oracle", 1.0), ("reversed_oracle", 0.0), ("constant", 0.5)])
def test_known_answers(mini, tmp_path, model, expected, run_here, capsys):
    # Rows whose label is a tie are worth 0.5 to anyone with a preference, so they are left out here.
    lines = [json.loads(line) for line in (mini / "all_test.jsonl").read_text().splitlines()]
    ties = {"both", "neither", "TIE", "BOTH_BAD"}
    labels = ("preference", "preference-musicality", "preference-alignment")
    kept = [line for line in lines if not any(line.get(label) in ties for label in labels)]
    assert len(kept) < len(lines)
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in kept))
    words = [f"model={model}", "+device=cpu", f"data.jsonl={tmp_path}/rows.jsonl"]
    run_here(*mini_words(mini), *words, folder=tmp_path / "run")
    found = accuracies(tmp_path / "run")
    assert found == dict.fromkeys(found, expected)
    assert len(found) == 3
    if model == "constant":
        assert "undef." in capsys.readouterr().out  # a correlation over a constant is not 0
    else:
        assert float(read_summary(tmp_path / "run")[("PAM", "musicality")]["SRCC"]) == pytest.approx(2 * expected - 1)


def test_a_gpu_that_is_not_there_is_named(mini, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    done = run_command(*mini_words(mini), "model=signal", "device=cuda:1", f"hydra.run.dir={tmp_path}")
    assert done.returncode == 1
    assert "Asked for cuda:1; this machine has no CUDA device" in done.stderr
    assert "device=cpu" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def here(mini, tmp_path, run_here, monkeypatch):
    """Runs a model of `sleeper.py` in this process."""
    (tmp_path / "sleeper.py").write_text(MODELS)
    monkeypatch.syspath_prepend(tmp_path)

    def run(*words, root=mini):
        run_here(*mini_words(root), *words, "+device=cpu", "workers=0", folder=tmp_path / "run")

    yield run
    sys.modules.pop("sleeper", None)


def test_a_failing_model_is_named_with_its_clip(here, tmp_path):
    with pytest.raises(UserError, match=r"row 5, clip B .*RuntimeError: boom"):
        here("model=custom", "model.class_path=sleeper:Breaks")
    assert json.loads((tmp_path / "run/metadata.json").read_text())["status"] == "failed"


def test_many_rows_come_to_what_few_come_to(here, tmp_path, monkeypatch, capsys):
    """Rows in a temporary file, and blocks of them, as of a run over a million."""
    names = ("results.jsonl", "metrics.json")
    here("model=random", "resume=false")
    expected = [(tmp_path / "run" / name).read_bytes() for name in names]
    before = json.loads((tmp_path / "run/metadata.json").read_text())
    monkeypatch.setattr(spool, "IN_MEMORY", 3)
    monkeypatch.setattr(requests, "BLOCK", 7)
    here("model=random", "resume=false")
    assert [(tmp_path / "run" / name).read_bytes() for name in names] == expected
    after = json.loads((tmp_path / "run/metadata.json").read_text())
    for name in ("counts", "data", "batch_check"):
        assert after[name] == before[name]


DIGESTED = """
import numpy as np


class Checkpoint:
    sr = 16000

    def __init__(self, checkpoint):
        self.digest = checkpoint

    def score_batch(self, inputs, batch_size, max_dur, **kwargs):
        return np.zeros((len(inputs), 2))
"""


def test_each_checkpoint_that_is_scored_on_a_test_set_is_a_line_in_the_ledger(here, tmp_path, monkeypatch):
    (tmp_path / "sleeper.py").write_text(DIGESTED)
    words = ["model=custom", "model.class_path=sleeper:Checkpoint", "subset=pam", "limit=2"]
    for step in (1, 2):
        here(*words, f"model.checkpoint={tmp_path}/ckpts/step_{step}", f"ledger={tmp_path}/ledger.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "ledger.jsonl").open()]
    assert [(line["data"], line["dataset"], line["rows"]) for line in lines] == [("mini", "PAM", 2)] * 2
    assert {line["training"] for line in lines} == {f"{tmp_path}/ckpts"}
    assert json.loads((tmp_path / "run/metadata.json").read_text())["test_set_looks"] == 2

    # A look is written down before there is any figure to see, so a run that stops then has had it.
    monkeypatch.setattr(scoring, "iter_results", None)
    with pytest.raises(TypeError):
        here(*words, f"model.checkpoint={tmp_path}/ckpts/step_3", f"ledger={tmp_path}/ledger.jsonl")
    assert len((tmp_path / "ledger.jsonl").read_text().splitlines()) == 3


def test_a_model_that_looks_at_its_batch_is_named_in_terminal_report_and_metadata(here, tmp_path, capsys):
    here("model=custom", "model.class_path=sleeper:Relative", "metrics.report=true", "subset=pam")
    told = "scores depend on the clips beside them"
    assert told in " ".join(capsys.readouterr().out.split())
    found = json.loads((tmp_path / "run/metadata.json").read_text())["batch_check"]
    assert found["depends_on_batch"]
    assert told in found["note"]
    assert told in (tmp_path / "run/report.html").read_text()
    assert told in " ".join(json.loads((tmp_path / "run/metrics.json").read_text())["notes"])


def test_failures_are_recorded_and_counted_where_that_is_asked_for(here, tmp_path, capsys):
    here("model=custom", "model.class_path=sleeper:Breaks", "on_error=record")
    assert "failed" in capsys.readouterr().out
    broken = [row for row in read_rows(tmp_path / "run") if row["inference_error"]]
    assert [row["inference_valid_b"] for row in broken] == [False]
    assert read_summary(tmp_path / "run")[("CMI-Pref", "musicality")]["n_failed"] == "1"


def test_a_wrong_shape_is_shown_beside_the_right_one(here):
    with pytest.raises(UserError, match=r"returned shape \[8\] for 8 clips; expected \[8, 2\]"):
        here("model=custom", "model.class_path=sleeper:WrongShape", "on_error=record")


def test_missing_audio_is_counted_before_a_model_is_loaded(here, mini, tmp_path):
    root = tmp_path / "damaged"
    shutil.copytree(mini, root)
    for path in sorted((root / "MusicEval_data/test_audio").iterdir())[:7]:
        path.unlink()
    words = ["model=constant", "subset=musiceval", "data.synthesise=false"]
    with pytest.raises(UserError, match=r"7 audio files are missing .* and 2 more") as error:
        here(*words, "+model.no_such_option=1", root=root)
    assert "task=prepare" in error.value.hint
    here(*words, "on_error=record", root=root)
    assert read_summary(tmp_path / "run")[("MusicEval", "musicality")]["n_failed"] == "7"


class Facts:
    facts = {"kernels": "on"}  # noqa: RUF012


def test_what_the_model_says_joins_what_is_known_of_it():
    found = facts_afterwards({"model": {"name": "mine"}}, Facts())
    assert found["model"] == {"name": "mine", "kernels": "on"}
    assert found["memory"]["process_gb"] > 0


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Three checkpoints that leave their encoders to one frozen MuQ-MuLan."""
    folder = tmp_path_factory.mktemp("checkpoints")
    for name in ("muq", "muq-mulan", "xlm-roberta", "sa_none", "sa_mean", "sa_conv"):
        shutil.copytree(BUNDLE / name, folder / name)
    for name in ("sa_none", "sa_mean", "sa_conv"):
        path = folder / name / "model.safetensors"
        head = {key: value for key, value in load_file(path).items() if not key.startswith(("audio_module", "text_m"))}
        save_file(head, path)
    return folder


@pytest.fixture
def cmi_rm(tmp_path, run_here):
    """Run a small CMI-RM on the parity bundle's rows; returns the run's counts."""
    write_parity_rows(tmp_path / "root")

    def run(folder, checkpoint, *words):
        line = cmi_rm_words(tmp_path / "root", tmp_path / "cache", checkpoint)
        run_here(*line, "+device=cpu", *words, folder=folder)
        return json.loads((folder / "metadata.json").read_text())["counts"]

    return run


@pytest.mark.slow
def test_scores_are_those_of_the_bundle_and_the_rows_order_is_kept(cmi_rm, tmp_path):
    counts = cmi_rm(tmp_path / "run", BUNDLE / "sa_mean", "batch_size=3")
    expected = json.loads((BUNDLE / "expected.json").read_text())["scores"]["sa_mean"]["max_dur_120"]
    for row, (alignment, musicality) in zip(read_scores(tmp_path / "run"), expected, strict=True):
        assert row[0] == pytest.approx(alignment, abs=1e-4)
        assert row[2] == pytest.approx(musicality, abs=1e-4)
    assert counts["clips"] == 12
    assert counts["unique_audio"] == 5  # four clips and one reference, of 16 uses
    assert counts["chunks_encoded"] == 6  # one of them is longer than 30 s
    assert counts["failed"] == 0


@pytest.mark.slow
def test_a_sweep_over_checkpoints_with_one_encoder_encodes_each_clip_once(cmi_rm, tmp_path, checkpoints):
    names = ("sa_none", "sa_mean", "sa_conv")
    counts = [cmi_rm(tmp_path / name, checkpoints / name) for name in names]
    assert [count["chunks_encoded"] for count in counts] == [6, 0, 0]
    assert [count["chunks_from_cache"] for count in counts] == [0, 6, 6]
    assert [count["texts_encoded"] for count in counts] == [8, 0, 0]
    assert len({json.dumps(read_scores(tmp_path / name)) for name in names}) == 3


@pytest.mark.slow
def test_models_that_embedded_together_score_as_alone_and_encode_nothing(cmi_rm, run_here, tmp_path):
    clap = save_small_clap(tmp_path / "clap")
    cmi_rm(tmp_path / "alone", BUNDLE / "sa_mean", f"cache.dir={tmp_path}/other")
    words = cmi_rm_words(tmp_path / "root", tmp_path / "cache", BUNDLE / "sa_mean")
    also = f"embed.also=['clap model.checkpoint={clap}']"
    run_here("task=embed", "data.split=test", "embed.form=full", *words, also, "+device=cpu", folder=tmp_path / "embed")
    assert cmi_rm(tmp_path / "cmi_rm", BUNDLE / "sa_mean")["chunks_encoded"] == 0
    assert read_scores(tmp_path / "cmi_rm") == read_scores(tmp_path / "alone")
    words = [word for word in words if not word.startswith("model")]
    run_here(*words, "model=clap", f"model.checkpoint={clap}", "+device=cpu", folder=tmp_path / "of_clap")
    counts = json.loads((tmp_path / "of_clap/metadata.json").read_text())["counts"]
    assert (counts["chunks_encoded"], counts["texts_encoded"], counts["failed"]) == (0, 0, 0)


@pytest.mark.slow
def test_a_changed_checkpoint_under_the_same_name_is_another_model(cmi_rm, tmp_path, checkpoints):
    here = tmp_path / "models"
    shutil.copytree(checkpoints, here)
    cmi_rm(tmp_path / "first", here / "sa_mean")
    tensors = load_file(here / "sa_mean/model.safetensors")
    tensors["score_projector.3.bias"] = tensors["score_projector.3.bias"] + 1.0
    save_file(tensors, here / "sa_mean/model.safetensors")
    counts = cmi_rm(tmp_path / "second", here / "sa_mean")
    assert (counts["from_store"], counts["chunks_encoded"]) == (0, 0)
    for before, after in zip(read_scores(tmp_path / "first"), read_scores(tmp_path / "second"), strict=True):
        assert after == pytest.approx([value + 1.0 for value in before], abs=1e-5)


@pytest.mark.slow
def test_a_run_can_be_queried_from_the_server(tiny, tmp_path, run_here):
    words = ["model=random", f"data.root={tiny}", f"data.jsonl={tiny}/all_test.jsonl", "+device=cpu", "workers=0"]
    with mlflow_server(tmp_path) as uri:
        run_here(*words, f"tracking_uri={uri}", "tracking.audio=true", folder=tmp_path / "run")
        client = MlflowClient(uri)
        experiment = client.get_experiment_by_name("cmi-rewardbench")
        assert experiment.artifact_location.startswith(
            "mlflow-artifacts:"
        )  # the server's, not a folder of this machine
        (found,) = client.search_runs([experiment.experiment_id])
        assert found.info.status == "FINISHED"
        assert found.info.run_name == "random on benchmark"
        assert {"PAM/musicality SRCC", "MusicArena/preference ACC", "CMI-Pref/alignment ACC"} <= set(found.data.metrics)
        metrics = json.loads((tmp_path / "run/metrics.json").read_text())["summary"]
        assert found.data.metrics["PAM/musicality SRCC"] == metrics[0]["SRCC"]
        assert found.data.params["model"] == "random"
        assert "git_commit" in found.data.tags or not (PROJECT / ".git").exists()
        assert (found.data.params["limit"], found.data.params["max_dur"]) == ("all", "120.0")
        assert found.data.tags["mlflow.user"]
        scored = json.loads((tmp_path / "run/metadata.json").read_text())["data"]["datasets"]
        inputs = client.get_run(found.info.run_id).inputs
        digests = {one.dataset.name: one.dataset.digest for one in inputs.dataset_inputs}
        assert digests == {one["name"]: one["digest"][:8] for one in scored}
        assert len(digests) == 4
        (model,) = client.search_logged_models([experiment.experiment_id])
        assert [one.model_id for one in inputs.model_inputs] == [model.model_id]
        metric = next(one for one in model.metrics if one.key == "PAM/musicality SRCC")
        assert (metric.dataset_name, metric.dataset_digest) == ("PAM", digests["PAM"])
        page = Path(client.download_artifacts(found.info.run_id, "report_with_audio.html", str(tmp_path))).read_text()
        assert "data:audio/mpeg;base64," in page
        table = json.loads(Path(client.download_artifacts(found.info.run_id, "rows.json", str(tmp_path))).read_text())
        assert (len(table["data"]), table["columns"][:2]) == (10, ["dataset", "row"])
        artifacts = {file.path for file in client.list_artifacts(found.info.run_id)}
        assert {"results.jsonl", "metrics.json", "latex.txt", "config.yaml", "metadata.json"} <= artifacts
        local = client.download_artifacts(found.info.run_id, "results.jsonl", str(tmp_path))
        assert Path(local).read_bytes() == (tmp_path / "run/results.jsonl").read_bytes()


@pytest.mark.slow
def test_a_server_that_is_down_is_a_warning(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    words = ["model=random", f"data.root={tiny}", f"data.jsonl={tiny}/all_test.jsonl", "+device=cpu", "workers=0"]
    address = f"tracking.uri=http://127.0.0.1:{free_port()}"
    done = run_command(*words, address, f"hydra.run.dir={tmp_path}/run")
    assert done.returncode == 0, done.stderr
    assert "MLflow: opening the store failed" in done.stderr
    assert "The run goes on" in done.stderr
    assert (tmp_path / "run/results.jsonl").exists()
    assert "Traceback" not in done.stderr
