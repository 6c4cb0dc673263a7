"""The Models page: one model for the same weights, whichever runs scored it, with the test sets that they scored."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from loopback import on_loopback
from mlflow import MlflowClient
from mlflow_server import mlflow_server
from recorded_runs import DESCRIPTION, dataset, outcome, recorded_run
from werkzeug import Response

from cmi_bench.config import TrackingConfig
from cmi_bench.tracking.description import ScoredModel

MODEL = ScoredModel("k" * 64, "cmi_rm org/step_500", {"step": "500", "digest": "abc", "source": "/runs/step_500"})
SCORED = replace(DESCRIPTION, model=MODEL, step=500)


def models_of(settings):
    client = MlflowClient(settings.uri)
    return list(client.search_logged_models([client.get_experiment_by_name(settings.experiment).experiment_id]))


def record(settings, description=SCORED, **more):
    with recorded_run(settings, description) as run:
        run.record(outcome(**more))
    return run


def test_a_model_has_the_metrics_of_its_runs_by_dataset_and_step(settings):
    datasets = [dataset("MusicEval", 4, "a" * 64), dataset("MusicArena", 2, "b" * 64)]
    run = record(settings, datasets=datasets)
    (model,) = models_of(settings)
    assert (model.name, model.params, model.source_run_id) == ("cmi_rm org-step_500", MODEL.params, run.run_id)
    assert (model.status, model.tags["mlflow.model.isExternal"]) == ("READY", "true")
    of_model = {one.key: one for one in model.metrics}
    found = of_model["MusicEval/musicality SRCC"]
    assert (found.value, found.step) == (pytest.approx(0.8), 500)
    assert (found.dataset_name, found.dataset_digest) == ("MusicEval", "a" * 8)
    assert of_model["mean/ACC"].dataset_name is None
    assert not [key for key in of_model if key.startswith(("run/", "intervals/"))]
    recorded = MlflowClient(settings.uri).get_run(run.run_id)
    assert recorded.inputs.model_inputs[0].model_id == model.model_id
    inputs = {one.dataset.name: one for one in recorded.inputs.dataset_inputs}
    assert {name: one.dataset.digest for name, one in inputs.items()} == {"MusicEval": "a" * 8, "MusicArena": "b" * 8}
    assert json.loads(inputs["MusicEval"].dataset.profile)["num_rows"] == 4
    assert [(tag.key, tag.value) for tag in inputs["MusicEval"].tags] == [("mlflow.data.context", "test")]


def test_a_second_evaluation_adds_to_the_model_and_makes_another_where_it_was_deleted(settings):
    record(settings, datasets=[dataset("MusicEval", 4, "a" * 64)])
    record(settings, datasets=[dataset("MusicEval", 3, "c" * 64)])
    record(settings, replace(SCORED, model=replace(MODEL, key="other")))
    first, other = sorted(models_of(settings), key=lambda one: one.tags["scored_model"])
    assert other.tags["scored_model"] == "other"
    digests = {one.dataset_digest for one in first.metrics if one.key == "MusicEval/musicality SRCC"}
    assert digests == {"a" * 8, "c" * 8}
    MlflowClient(settings.uri).delete_logged_model(first.model_id)
    record(settings)
    assert sorted(one.tags["scored_model"] for one in models_of(settings)) == [MODEL.key, "other"]


def test_a_server_without_models_costs_one_warning_and_has_all_the_rest(caplog, tmp_path):
    asked = []

    def older(request):
        path = request.path.rpartition("2.0/mlflow/")[2]
        asked.append(path)
        if "logged-models" in path:
            return Response("Not Found", status=404)
        info = {"run_id": "f" * 32, "run_uuid": "f" * 32, "artifact_uri": (tmp_path / "artifacts").as_uri()}
        run = {"run": {"info": info, "data": {}}}
        experiment = {"experiment": {"experiment_id": "1", "lifecycle_stage": "active"}}
        answers = {"experiments/get-by-name": experiment, "runs/create": run, "runs/get": run}
        return Response(json.dumps(answers.get(path, {})), content_type="application/json")

    with on_loopback(older) as uri:
        record(TrackingConfig("there", uri=uri), datasets=[dataset("MusicEval", 4, "a" * 64)])
    (warning,) = [one.getMessage() for one in caplog.records if one.levelname == "WARNING" and "cmi" in one.name]
    assert "recording the model failed (The server knows no models; it is older than MLflow 3." in warning
    assert asked.count("runs/log-batch") == 2
    assert asked[-1] == "runs/update"
    assert "runs/log-inputs" in asked
    assert (tmp_path / "artifacts/rows.json").is_file()


@pytest.mark.slow
def test_runs_side_by_side_make_one_model_on_a_server(tmp_path):
    with mlflow_server(tmp_path) as uri:
        settings = TrackingConfig("there", uri=uri)
        record(settings, DESCRIPTION)  # the experiment is there
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: record(settings), range(4)))
        (model,) = models_of(settings)
    assert len({one.run_id for one in model.metrics}) >= 1
    assert model.tags["scored_model"] == MODEL.key


@pytest.mark.slow
def test_runs_side_by_side_make_one_model_in_a_file(settings):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: record(settings), range(4)))
    assert len(models_of(settings)) == 1
