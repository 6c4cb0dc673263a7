"""MLflow's Models page: a row for each checkpoint, whichever runs scored it, and the test sets as columns.

A model in MLflow is what it calls an external one: its weights stay where they are. Importing this module imports
MLflow.
"""

import contextlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModel, LoggedModelStatus, Metric
from mlflow.exceptions import MlflowException

from cmi_bench.config import TrackingConfig
from cmi_bench.errors import UserError
from cmi_bench.tracking.description import ScoredModel
from cmi_bench.tracking.metrics import RecordedMetric
from cmi_bench.tracking.mlflow_store import SQLITE, sqlite_file
from cmi_bench.tracking.scored_data import ScoredDataset
from cmi_bench.utils.waiting import locked

KEY_TAG = "scored_model"
"""Tag by which the model of some weights is found again."""
EXTERNAL_TAG = "mlflow.model.isExternal"
"""MLflow's own: there are no files to load the model from."""
MODEL_TYPE = "reward model"
NOT_IN_NAMES = str.maketrans(dict.fromkeys("/:.%\"'", "-"))
"""What MLflow does not allow in the names of models."""
MAX_PARAM = 500
"""Characters of a model's param."""
DIGEST_LENGTH = 8
"""Characters of a dataset's digest, as in MLflow's own."""


def model_of(
    client: MlflowClient, experiment_id: str, model: ScoredModel, *, run_id: str, settings: TrackingConfig
) -> str:
    """Return the id of the MLflow model of some weights, which is made if there is none, or only deleted ones.

    Runs side by side get the same one. In a SQLite store a lock sees to that. A server has none: there each run looks
    again after it has made a model, and all take the oldest and delete their own. That leaves two only where one
    process's transaction is not seen by another that began after it, for the moment of the transaction.

    Args:
        client: The store's.
        experiment_id: Where the model is.
        model: The weights and their settings.
        run_id: The run that scored with it.
        settings: Which store it is, and how long to wait for another process that makes a model in a SQLite file.

    Raises:
        UserError: The store has no models: it is older than MLflow 3.
        mlflow.exceptions.MlflowException: What else can go wrong.
    """
    with _one_at_a_time(settings):
        if found := _models(client, experiment_id, model.key):
            return str(_oldest(found).model_id)
        params = {name: value[:MAX_PARAM] for name, value in model.params.items()}
        made = client.create_logged_model(
            experiment_id,
            name=model.name.translate(NOT_IN_NAMES),
            source_run_id=run_id,
            tags={KEY_TAG: model.key, EXTERNAL_TAG: "true"},
            params=params,
            model_type=MODEL_TYPE,
        )
        client.finalize_logged_model(made.model_id, LoggedModelStatus.READY)
        kept = _oldest([made, *_models(client, experiment_id, model.key)])
        if kept.model_id != made.model_id:
            client.delete_logged_model(made.model_id)
        return str(kept.model_id)


def drop_replaced(client: MlflowClient, experiment_id: str, run_id: str) -> None:
    """Delete the models of a training whose checkpoints are not there any more, and that no other run has scored with.

    Args:
        client: The store's.
        experiment_id: Where the models are.
        run_id: The training's run.
    """
    own = client.search_logged_models([experiment_id], filter_string=f"attributes.source_run_id = '{run_id}'")
    newest = {model.params.get("source"): model.model_id for model in sorted(own, key=_age)}
    for model in own:
        source = model.params.get("source", "")
        is_known = 0 < len(source) < MAX_PARAM  # a longer one was cut
        is_replaced = is_known and not (Path(source).is_dir() and newest[source] == model.model_id)
        if is_replaced and all(metric.run_id == run_id for metric in model.metrics or ()):
            client.delete_logged_model(model.model_id)


def _one_at_a_time(settings: TrackingConfig) -> contextlib.AbstractContextManager[None]:
    uri = settings.uri or ""
    if not uri.startswith(SQLITE):
        return contextlib.nullcontext()
    return locked(Path(f"{sqlite_file(uri)}.lock"), seconds=settings.timeout, what="records a model in MLflow")


def _models(client: MlflowClient, experiment_id: str, key: str) -> list[LoggedModel]:
    try:
        return list(client.search_logged_models([experiment_id], filter_string=f"tags.{KEY_TAG} = '{key}'"))
    except MlflowException as error:
        if error.get_http_status_code() == NOT_FOUND:
            raise UserError(
                "The server knows no models; it is older than MLflow 3.", "The Models page stays empty."
            ) from error
        raise


NOT_FOUND = 404


def _oldest(models: Iterable[LoggedModel]) -> LoggedModel:
    return min(models, key=_age)


def _age(model: LoggedModel) -> tuple[int, str]:
    return model.creation_timestamp, model.model_id


def dataset_inputs(datasets: Iterable[ScoredDataset], *, source: str, split: str) -> list[DatasetInput]:
    """Return the datasets of a run as its inputs.

    Args:
        datasets: What was scored.
        source: The file that the rows are from.
        split: Which rows of the file.
    """
    return [
        DatasetInput(
            Dataset(
                name=one.name,
                digest=one.digest[:DIGEST_LENGTH],
                source_type="local",
                source=json.dumps({"uri": source}),
                profile=json.dumps({"num_rows": one.rows, "sha256": one.digest}),
            ),
            [InputTag("mlflow.data.context", split)],
        )
        for one in datasets
    ]


def metrics_of(
    recorded: Sequence[RecordedMetric],
    datasets: Mapping[str, ScoredDataset],
    *,
    model_id: str | None,
    step: int,
    timestamp: int,
) -> list[Metric]:
    """Return a run's metrics; those that say how good its model is are the model's too.

    Args:
        recorded: The numbers.
        datasets: By name, those that the numbers may be of.
        model_id: The model's; None where the store has none.
        step: Of the model's training.
        timestamp: Milliseconds since 1970.
    """
    return [_metric(one, datasets, model_id if one.is_of_model else None, step, timestamp) for one in recorded]


def _metric(
    one: RecordedMetric, datasets: Mapping[str, ScoredDataset], model_id: str | None, step: int, timestamp: int
) -> Metric:
    if model_id is None or one.dataset is None or one.dataset not in datasets:
        return Metric(one.name, one.value, timestamp, step, model_id=model_id)
    digest = datasets[one.dataset].digest[:DIGEST_LENGTH]
    return Metric(one.name, one.value, timestamp, step, model_id, dataset_name=one.dataset, dataset_digest=digest)
