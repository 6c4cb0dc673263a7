"""`cmi_bench.run`: the benchmark of a model in memory, by which nothing else in the process changes."""

import asyncio
import os
import random
import subprocess
import sys
import threading
from pathlib import Path

import lightning.pytorch as pl
import mlflow
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

import cmi_bench
from cmi_bench.data.rows import read_results
from cmi_bench.models.base import AudioView, EmbeddingModel

CLIPS = 14
PROBES = 4 + 1
"""Clips that are scored once more, in other company."""
QUICK = {"tracking": "none", "metrics": {"report": False, "resamples": 0}, "workers": 0, "progress": False}


@pytest.fixture
def run(tiny, tmp_path):
    """Run over the tiny benchmark with a cache of the test's own; each call has a folder of its own."""

    def run_over_tiny(model, **more):
        data = {"jsonl": str(tiny / "all_test.jsonl"), "root": str(tiny)}
        folder = tmp_path / f"run {len(list(tmp_path.glob('run *')))}"
        settings = QUICK | {"data": data, "cache": {"dir": str(tmp_path / "cache")}, "folder": folder}
        return cmi_bench.run(model, **settings | more)

    return run_over_tiny


class Record(list):
    """Ids of the clips that were asked for; no part of what a model is."""

    def __reduce__(self):
        return list, ()


ASKED = Record()


@pytest.fixture(autouse=True)
def _nobody_was_asked():
    ASKED.clear()


class Loudness(nn.Module):
    """Weighs how loud a clip is, with all the bad habits that a model in training may have."""

    sr = 8000
    audio_input = "waveform"

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, 2.0]))
        self.dropout = nn.Dropout(0.5)
        self.frozen = nn.Linear(1, 1).requires_grad_(False).eval()
        self.table = Table()

    def score_batch(self, inputs, batch_size, max_dur):
        ASKED.extend(one.clip_id for one in inputs)
        self.frozen.requires_grad_(True)
        torch.manual_seed(0), np.random.seed(0), random.seed(0)
        loud = torch.stack([one.audio.std() * self.table.ones(self.weight) for one in inputs])
        return self.dropout(loud * (torch.eye(2) @ self.weight)).float().numpy()


class Table:
    """Made when it is first asked for, and kept."""

    kept = None

    def ones(self, like):
        if self.kept is None:
            self.kept = like * 0 + 1
        return self.kept

    def __reduce__(self):
        return Table, ()


def test_the_results_of_an_object(run, tmp_path, capsys):
    model = Loudness()
    with torch.inference_mode():  # as in Lightning's validation
        results = run(model, step=500)
    assert len(ASKED) == CLIPS + PROBES
    assert capsys.readouterr().out == ""  # the summary is in the results
    assert results.rows == read_results(results.folder / "results.jsonl")
    assert results.metadata["model"]["class"].endswith("test_run.Loudness")
    first, *_, last = repr(results).splitlines()
    assert first.startswith("<RunResults of Loudness step_500 on ")
    assert last == f"  in {results.folder}>"
    assert "Loudness step_500" in results._repr_html_()
    copied = {file.name for file in results.to_disk(tmp_path / "kept")}
    assert copied == {file.name for file in results.folder.iterdir()} - {"scores"}
    assert results.to_disk(results.folder)
    assert cmi_bench.evaluate(tmp_path / "kept", cmi_bench.MetricSettings(resamples=0)).summary == results.summary
    # What the network keeps from scoring can be trained with.
    (model.table.kept * model.weight).sum().backward()
    assert model.weight.grad.tolist() == [1.0, 1.0]


def test_scores_are_used_again_for_equal_weights_only(run):
    model = Loudness()
    first = run(model)
    ASKED.clear()
    assert run(model, name="other").rows == first.rows
    assert not ASKED
    model.weight.data.mul_(2)
    assert run(model).rows != first.rows
    assert len(ASKED) == CLIPS + PROBES


@pytest.mark.slow  # which states those are: tests/models/test_in_memory.py
def test_scores_of_a_state_that_cannot_be_read_are_not(run, tmp_path):
    model = Loudness()
    model.client = threading.Lock()
    for factor in (1, 2):
        ASKED.clear()
        model.weight.data.mul_(factor)
        results = run(model, folder=tmp_path / "same")
        assert len(ASKED) == CLIPS + PROBES
    assert results.metadata["model"]["digest"] is None
    assert not (tmp_path / "cache" / "scores").exists()


def state(model):
    numpy = [one.tolist() if hasattr(one, "tolist") else one for one in np.random.get_state()]
    modes = {name: part.training for name, part in model.named_modules()}
    grads = {name: one.requires_grad for name, one in model.named_parameters()}
    flags = (torch.get_float32_matmul_precision(), torch.is_autocast_enabled("cpu"), torch.is_grad_enabled())
    seeds = {name: value for name, value in os.environ.items() if name.startswith("PL_")}
    return random.getstate(), numpy, torch.get_rng_state().tolist(), modes, grads, flags, seeds


@pytest.mark.slow
def test_the_process_is_left_as_it_was(run):
    model = Loudness()
    before, plain = state(model), run(model).rows
    assert state(model) == before
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            inside = state(model)
            assert run(model, cache="off").rows == plain  # scores do not depend on where they are made
            assert state(model) == inside
    finally:
        torch.set_float32_matmul_precision("highest")
    model.weight.data = torch.ones(3)
    with pytest.raises(cmi_bench.UserError, match="RuntimeError"):
        run(model)
    assert state(model) == before


def test_what_was_scored_is_kept_when_the_user_stops(run):
    class Stopped(Loudness):
        def score_batch(self, inputs, batch_size, max_dur):
            if len(ASKED) == 6:
                raise KeyboardInterrupt
            return super().score_batch(inputs, batch_size, max_dur)

    model = Stopped()
    with pytest.raises(KeyboardInterrupt):
        run(model, batch_size=2)
    assert model.training
    ASKED[:] = ["once more"]
    run(model, batch_size=2)
    assert len(ASKED) - 1 == CLIPS - 6 + 2 + 1  # batches of two: two probes, and the first of them alone


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"limt": 1}, "There is no setting 'limt'.*limit"),
        ({"data": {"jsonl": "nowhere.jsonl"}}, "nowhere.jsonl does not exist"),
        ({"trainer.devices": 2}, "takes no trainer.devices"),
        ({"device": "cpu"}, "says nothing of a model that is built"),
        ({"metrics": object()}, "metrics is a object"),
        ({"score_kwargs": {"f": len}}, "score_kwargs holds what JSON cannot"),
    ],
)
def test_mistakes_get_a_message(run, settings, says):
    with pytest.raises(cmi_bench.UserError, match=f"(?s){says}"):
        run(Loudness(), **settings)


def test_mistakes_about_the_model_get_a_message(run, monkeypatch):
    with pytest.raises(cmi_bench.UserError, match=r"There is no model=signall.\s*-> Did you mean signal"):
        run("signall")
    with pytest.raises(cmi_bench.UserError, match=r"Loudness is a class.\s*-> Give an object"):
        run(Loudness)
    with pytest.raises(cmi_bench.UserError, match="step is for a model object"):
        run("signal", step=3)
    with pytest.raises(cmi_bench.UserError, match="checkpoint is for a model's name"):
        run(Loudness(), checkpoint="runs/step_500")
    with pytest.raises(cmi_bench.UserError, match="runs/nowhere"):
        run("cmi_rm", checkpoint="runs/nowhere/step_500")
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(cmi_bench.UserError, match="in process 1 of several"):
        run(Loudness())


class Encoded(nn.Module, EmbeddingModel):
    """A head over an encoder, whose own word for itself is the same all its life."""

    sr = 8000
    identity = audio_identity = text_identity = "encoded"

    def __init__(self):
        super().__init__()
        self.encoder, self.head = nn.Linear(2, 2), nn.Linear(2, 2)

    def audio_view(self, max_dur, *, is_reference):
        return AudioView("start", max_dur)

    def embed_audio(self, waveforms, max_dur, *, is_reference):
        ASKED.extend(waveforms)
        return [[self.encoder(torch.stack([one.std(), one.mean()]))[None]] for one in waveforms]

    def embed_texts(self, texts):
        return [torch.zeros(1, 2) for _ in texts]

    def score_embedded(self, clips):
        return np.stack([self.head(one.windows[0][0]).numpy() for one in clips])

    def score_batch(self, inputs, batch_size, max_dur, **kwargs):
        raise AssertionError


class Frozen(Encoded):
    @property
    def encoders(self):
        return [self.encoder]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "encodes_again"), [(Encoded, True), (Frozen, False)])
def test_embeddings_are_used_again_where_their_networks_are_the_same(run, kind, encodes_again):
    model = kind()
    first = run(model)
    assert ASKED
    ASKED.clear()
    model.head.weight.data.mul_(2)
    assert run(model).rows != first.rows
    assert bool(ASKED) == encodes_again
    ASKED.clear()
    model.encoder.weight.data.mul_(2)
    run(model)
    assert ASKED


@pytest.mark.slow
def test_a_name_is_the_command(run, run_here, tiny, tmp_path):
    results = run("signal")
    words = ("model=signal", "tracking=none", "cache=off", "metrics.report=false", "metrics.resamples=0")
    run_here(*words, f"data.jsonl={tiny}/all_test.jsonl", f"data.root={tiny}", folder=tmp_path / "command")
    assert results.rows == read_results(tmp_path / "command" / "results.jsonl")
    for name in ("metrics_summary.csv", "metrics_intervals.csv", "latex.txt"):
        assert (results.folder / name).read_bytes() == (tmp_path / "command" / name).read_bytes()
    with pytest.raises(cmi_bench.UserError, match="on one device"):
        run("signal", device="cpu_ddp")


@pytest.mark.slow
def test_from_threads_and_within_an_event_loop(run):
    async def main():
        return run(Loudness()), *await asyncio.gather(
            *(asyncio.to_thread(run, Loudness(), name=f"{i}") for i in (1, 2))
        )

    first, *others = asyncio.run(main())
    assert all(one.rows == first.rows for one in others)


@pytest.mark.slow
def test_folders_of_runs_are_told_apart(run, tmp_path, monkeypatch):
    monkeypatch.setattr("cmi_bench.api.run.project_folder", lambda: tmp_path)
    scorer = cmi_bench.SongScorer(Loudness())
    folders = [run(scorer, folder=None, name="a/b c", limit=1).folder for _ in range(2)]
    assert {folder.parent for folder in folders} == {tmp_path / "outputs" / "a_b_c"}
    assert len(set(folders)) == 2


class Training(pl.LightningModule):
    """Learns a weight; after each epoch, the benchmark of what it has become."""

    sr = 8000
    audio_input = "waveform"

    def __init__(self, benchmark):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(1, 2), nn.Dropout(0.5), nn.BatchNorm1d(2))
        self.benchmark = benchmark
        self.results = []

    def training_step(self, batch, index):
        assert self.net.training
        return (self.net(batch) - torch.rand(len(batch), 2)).square().mean()

    def validation_step(self, batch, index):
        self.log("loss", self.net(batch).mean())

    def on_validation_epoch_end(self):
        if self.benchmark is not None and not self.trainer.sanity_checking and self.trainer.is_global_zero:
            self.results.append(self.benchmark(self, step=self.global_step))

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=0.1)

    def score_batch(self, inputs, batch_size, max_dur):
        assert not self.net.training
        return self.net(torch.stack([one.audio.std().reshape(1) for one in inputs])).numpy()


def trained(benchmark, folder):
    pl.seed_everything(1, verbose=False)
    model = Training(benchmark)
    data = DataLoader(torch.rand(16, 1), batch_size=4, shuffle=True)
    settings = {"max_epochs": 3, "accelerator": "cpu", "logger": False, "enable_checkpointing": False}
    trainer = pl.Trainer(**settings, enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder)
    trainer.fit(model, data, data)
    return model


@pytest.mark.slow
def test_a_training_goes_on_as_if_nobody_had_asked(run, tmp_path):
    store = f"sqlite:///{tmp_path}/mlflow.db"
    tracking = {"name": "mlflow", "uri": store, "artifacts": str(tmp_path / "artifacts")}
    alone = trained(None, tmp_path)
    watched = trained(lambda model, step: run(model, step=step, tracking=tracking), tmp_path)
    for name, value in alone.state_dict().items():
        assert torch.equal(value, watched.state_dict()[name]), name
    assert len({str(one.rows) for one in watched.results}) == 3
    assert [one.metadata["config"]["model"]["checkpoint"] for one in watched.results] == ["step_4", "step_8", "step_12"]
    client = mlflow.MlflowClient(store)
    found = client.search_runs([one.experiment_id for one in client.search_experiments()])
    assert {one.data.params["step"] for one in found} == {"4", "8", "12"}
    assert {one.info.status for one in found} == {"FINISHED"}
    assert all(one.info.run_name.startswith("Training step_") for one in found)


@pytest.mark.slow
def test_a_trace_is_an_artifact_of_the_run_in_the_store(run, tmp_path):
    store = f"sqlite:///{tmp_path}/mlflow.db"
    found = run("audio_statistics", profile=True, tracking={"name": "mlflow", "uri": store}, max_dur=0.3)
    assert found.metadata["seconds"]["profile"] > 0
    client = mlflow.MlflowClient(store)
    (recorded,) = client.search_runs([one.experiment_id for one in client.search_experiments()])
    artifacts = {file.path for file in client.list_artifacts(recorded.info.run_id)}
    assert {"trace.json.gz", "operators.txt"} <= artifacts
    assert recorded.data.metrics["run/encode seconds"] == found.metadata["seconds"]["encode"]


@pytest.mark.slow
def test_in_the_first_of_several_processes(tiny, tmp_path):
    folder = tmp_path / "runs"
    folder.mkdir()
    script = Path(__file__).parents[1] / "helpers" / "distributed_training.py"
    subprocess.run([sys.executable, script, tiny, folder], check=True, timeout=240, capture_output=True)
    assert sorted(path.name for path in folder.iterdir()) == ["0 2", "0 4", "1 2 refused", "1 4 refused"]
    first, second = (read_results(folder / name / "results.jsonl") for name in ("0 2", "0 4"))
    assert first != second
    assert "if trainer.is_global_zero" in (folder / "1 2 refused").read_text()
