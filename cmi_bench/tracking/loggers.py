"""Runs in Weights & Biases and in CSV files, by Lightning's own loggers.

A run has the same name, params, metrics and files as in MLflow. As there, whatever goes wrong is a warning.
"""

import csv
import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger

from cmi_bench.config import TrackingConfig
from cmi_bench.tracking.description import NOTE_TAG, RunDescription
from cmi_bench.tracking.sink import Sink
from cmi_bench.tracking.tracker import RunOutcome
from cmi_bench.tracking.trackers import is_online, quiet

if TYPE_CHECKING:
    from wandb import Run

log = logging.getLogger(__name__)

AnyLogger = TypeVar("AnyLogger", bound=Logger)
MAX_TAG = 64
"""Characters of a tag in Weights & Biases."""
OF_MLFLOW = "mlflow."
"""What the tags begin with that mean something in MLflow only."""


class LoggerRun(Generic[AnyLogger]):
    """A run that one of Lightning's loggers records; a `Tracker`. A subclass opens the logger."""

    def __init__(self, settings: TrackingConfig, description: RunDescription, *, name: str, place: str) -> None:
        """Take note of what will be recorded.

        Args:
            settings: With a `folder`.
            description: Name, params and tags.
            name: Where it is recorded, for messages: "wandb".
            place: Address or folder of that.
        """
        self.settings = settings
        self.description = description
        self.sink = Sink(name, place, settings.timeout)
        self.logger: AnyLogger | None = None
        """None before the run is open."""
        self.started = False

    def start(self, earlier: str | None = None) -> None:
        """Open the run with its params and tags, unless it is open already or failed to open.

        Args:
            earlier: The `record_id` of a run to go on with.
        """
        if self.started:
            return
        self.started = True
        self.logger = self.sink.call("opening the run", lambda: self._opened(earlier))
        self.sink.is_open = self.logger is not None
        tags = {key: value for key, value in self.description.tags.items() if not key.startswith(OF_MLFLOW)}
        self.log_params(tags | dict(self.description.params))

    @property
    def record_id(self) -> str:
        """A name by which the open run is gone on with later."""
        raise NotImplementedError

    def progress(self, clips: int) -> None:
        """Record how many clips are scored by now."""
        self.log_metrics({"run/clips done": clips})

    def record(self, outcome: RunOutcome) -> None:
        """Record what the run came to; the run is started first if nothing has done so yet."""
        self.start()
        self.log_metrics({one.name: one.value for one in outcome.metrics})
        if outcome.tags:
            self.log_params(outcome.tags)
        self.log_files(outcome.files)

    def close(self, status: str) -> None:
        """End the run, if it was started: "FINISHED", "FAILED" or "KILLED"."""
        if (logger := self.logger) is not None:
            self.sink.call("closing the run", lambda: self._end(logger, status), in_any_case=True)
        self.logger = None

    def log_params(self, params: Mapping[str, str]) -> None:
        """Record what a run is told apart by."""
        if (logger := self.logger) is not None:
            self.sink.call("recording params", lambda: logger.log_hyperparams(dict(params)))

    def log_files(self, files: Sequence[Path]) -> None:
        """Record files, and folders with all they hold."""
        if (logger := self.logger) is not None and files:
            self.sink.call("recording files", lambda: self._log_files(logger, files))

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Record metrics at a step, by default the run's."""
        if (logger := self.logger) is not None:
            at = step if step is not None else self.description.step or 0
            self.sink.call("recording metrics", lambda: logger.log_metrics(dict(metrics), at))

    def log_checkpoint(self, step: int, folder: Path, metrics: Mapping[str, float]) -> None:
        """Record where a checkpoint is; it is not copied."""
        if (logger := self.logger) is not None:
            self.sink.call("recording a checkpoint", lambda: self._log_checkpoint(logger, step, folder, metrics))

    def _opened(self, earlier: str | None) -> AnyLogger:
        raise NotImplementedError

    def _log_checkpoint(self, logger: AnyLogger, step: int, folder: Path, metrics: Mapping[str, float]) -> None:
        raise NotImplementedError

    def _log_files(self, logger: AnyLogger, files: Sequence[Path]) -> None:
        raise NotImplementedError

    def _end(self, logger: AnyLogger, status: str) -> None:
        raise NotImplementedError


class CsvRun(LoggerRun[CSVLogger]):
    """A run as `hparams.yaml` and `metrics.csv` in a folder of its own: experiment, sweep, name, version."""

    def __init__(self, settings: TrackingConfig, description: RunDescription) -> None:
        super().__init__(settings, description, name="CSV", place=str(settings.folder))

    @property
    def record_id(self) -> str:
        """The name of its folder."""
        return Path(self.logger.log_dir).name if self.logger is not None else ""

    def _opened(self, earlier: str | None) -> CSVLogger:
        parts = (self.settings.experiment, self.description.group, self.description.name)
        name = "/".join(part.replace("/", "_") for part in parts if part)
        logger = CSVLogger(str(self.settings.folder), name, version=earlier)
        rows = _read_metrics(Path(logger.log_dir) / METRICS_FILE)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it removes what was there; it was read
            logger.experiment  # noqa: B018 # opens it
        for row in rows:
            logger.log_metrics({key: value for key, value in row.items() if key != "step"}, int(row["step"]))
        logger.save()  # makes the folder: a run that is killed is seen
        return logger

    def log_params(self, params: Mapping[str, str]) -> None:
        """Record what a run is told apart by."""
        super().log_params(params)
        self._save()

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Record metrics at a step, by default the run's."""
        super().log_metrics(metrics, step)
        self._save()

    def _save(self) -> None:
        if (logger := self.logger) is not None:
            self.sink.call("writing", logger.save)

    def _log_checkpoint(self, logger: CSVLogger, step: int, folder: Path, metrics: Mapping[str, float]) -> None:
        logger.log_hyperparams({f"checkpoint {folder.name}": str(folder.resolve())})

    def _log_files(self, logger: CSVLogger, files: Sequence[Path]) -> None:
        """Note where the files are; they are on this machine already."""
        logger.log_hyperparams({"results": str(files[0].parent)})

    def _end(self, logger: CSVLogger, status: str) -> None:
        logger.log_hyperparams({"status": status})
        logger.save()


METRICS_FILE = "metrics.csv"
"""Lightning's name for it."""


def _read_metrics(file: Path) -> list[dict[str, float]]:
    """Return the lines of a file of metrics, what is empty left out; none where there is no such file."""
    if not file.is_file():
        return []
    with file.open(newline="", encoding="utf-8") as lines:
        return [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(lines)]


OFFLINE = "offline"


class WandbRun(LoggerRun[WandbLogger]):
    """A run in Weights & Biases, its files as an artifact; jobs of a sweep are a group.

    Where the program has a run of wandb's open, such as a training's, metrics go into that one, and it is left open.
    """

    def __init__(self, settings: TrackingConfig, description: RunDescription) -> None:
        place = (
            os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai") if is_online(settings) else str(settings.folder)
        )
        super().__init__(settings, description, name="wandb", place=place)
        self._is_own = True

    @property
    def record_id(self) -> str:
        """The run's id."""
        return str(self.logger.experiment.id) if self.logger is not None else ""

    def _opened(self, earlier: str | None) -> WandbLogger:
        quiet()
        import wandb

        self._is_own = wandb.run is None
        tags = self.description.tags
        logger = WandbLogger(
            name=self.description.name,
            id=earlier,
            save_dir=str(self.settings.folder),
            project=self.settings.experiment,
            entity=self.settings.entity,
            group=self.description.group or None,
            notes=tags.get(NOTE_TAG),
            tags=[tags[key][:MAX_TAG] for key in ("model", "dataset") if key in tags],
            mode=OFFLINE if self.settings.offline else None,
            settings=wandb.Settings(silent=True, console="off", init_timeout=self.settings.timeout),
        )
        run: Run = logger.experiment
        if run.url:
            log.info("wandb: %s", run.url)
        elif self._is_own:
            log.info("wandb: offline; to send it: wandb sync %s", Path(run.dir).parent)
        return logger

    def _log_checkpoint(self, logger: WandbLogger, step: int, folder: Path, metrics: Mapping[str, float]) -> None:
        import wandb

        run: Run = logger.experiment
        artifact = wandb.Artifact(f"checkpoints-{run.id}", type="model", metadata={"step": step, **metrics})
        artifact.add_reference(folder.resolve().as_uri())
        run.log_artifact(artifact, aliases=[folder.name])

    def _log_files(self, logger: WandbLogger, files: Sequence[Path]) -> None:
        import wandb

        run: Run = logger.experiment
        artifact = wandb.Artifact(f"results-{run.id}", type="results")
        for file in files:
            if file.is_dir():
                artifact.add_dir(str(file), name=file.name)
            else:
                artifact.add_file(str(file))
        run.log_artifact(artifact)

    def _end(self, logger: WandbLogger, status: str) -> None:
        run: Any = logger.experiment
        if self._is_own:
            run.finish(exit_code=0 if status == "FINISHED" else 1)
