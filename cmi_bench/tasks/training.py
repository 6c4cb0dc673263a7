"""Training as the task does it: embeddings, head, loop, validation with intervals; files first, trackers after."""

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from lightning.pytorch import seed_everything
from omegaconf import OmegaConf

from cmi_bench.config import OnError
from cmi_bench.data.audio_info import ManifestIndex
from cmi_bench.data.rows import RESULTS_FILE
from cmi_bench.errors import UserError
from cmi_bench.evaluation.evaluate import Evaluation
from cmi_bench.models.base import EmbeddingModel
from cmi_bench.models.checkpoint_kinds import kind_of_checkpoint
from cmi_bench.models.heads import Head, Widths, build_head
from cmi_bench.models.registry import configured_model
from cmi_bench.scoring.embedding_cache import GIGABYTE
from cmi_bench.tasks.embedding import checked_backbone, fill_as_configured, run_cache
from cmi_bench.tasks.evaluate import evaluate_and_report
from cmi_bench.tasks.scoring import audio_index, facts_afterwards, lightning_runner, model_facts, recorded, run_devices
from cmi_bench.tracking.description import ScoredModel, describe_model
from cmi_bench.tracking.metadata import METADATA_FILE, resolved_config, run_metadata, write_metadata
from cmi_bench.tracking.metrics import validation_curves
from cmi_bench.tracking.scored_data import ScoredDataset, describe_datasets
from cmi_bench.tracking.sweep_plan import sweep_place
from cmi_bench.tracking.trackers import training_tracker_of
from cmi_bench.tracking.training import (
    CHECKED,
    LEARNT,
    SET_ASIDE,
    TrainingDescription,
    TrainingTracker,
    describe_training,
)
from cmi_bench.training.batches import LearntRow, TrainingBatches, ValidationBatches, lack_lists, learnt_rows
from cmi_bench.training.checkpoints import CheckpointWriter
from cmi_bench.training.data import TrainingData
from cmi_bench.training.embeddings import TrainingEmbeddings
from cmi_bench.training.ensemble import ENSEMBLE, Member, member_folder, member_scores, write_ensemble
from cmi_bench.training.examples import Example
from cmi_bench.training.fit import Fitted, fit
from cmi_bench.training.history import HISTORY, read_history
from cmi_bench.training.kept import CHECKPOINTS, CHECKPOINTS_FILE, KeptCheckpoints, read_checkpoints
from cmi_bench.training.model_card import CARD, describe_card
from cmi_bench.training.module import TrainingModule
from cmi_bench.training.objective import Objective
from cmi_bench.training.resume import take_up, training_key
from cmi_bench.training.sampling import Sampler
from cmi_bench.training.splits import Split
from cmi_bench.training.validation import SPLIT, Validation
from cmi_bench.training_config import EmbeddingForm, RatingLossKind, TrainTask
from cmi_bench.utils.addresses import on_this_machine, place_of
from cmi_bench.utils.console import print_view
from cmi_bench.utils.distributed import Devices, is_rank_zero
from cmi_bench.utils.files import content_key, write_text_atomic
from cmi_bench.utils.installation import command_line, conf_folder
from cmi_bench.utils.json_lines import write_json_lines

log = logging.getLogger(__name__)

INDEX = "training"
"""Folder in `cache.dir` that knows where trainings are."""
RECORDED = (
    "config.yaml", METADATA_FILE, HISTORY, CHECKPOINTS_FILE, RESULTS_FILE, "metrics.json", "metrics_summary.csv",
    "report.html", "plots",
)  # fmt: skip
"""Files of a training's folder that trackers get, beside the best checkpoint's card; weights stay where they are."""
ROWS_FOR_STATISTICS = 2000
"""Of as many rows, evenly chosen, a head takes means and deviations; more hardly change them, and take memory."""


def train_on(data: TrainingData, config: TrainTask, folder: Path, *, started: float) -> None:
    """Train a head, or an ensemble of heads of several seeds, and write what came of it into `folder`.

    Args:
        data: Examples to learn from and to validate on.
        config: The training's configuration.
        folder: Its folder.
        started: When it started, by `time.monotonic`.

    Raises:
        UserError: The model, the head or the device is not right, or training diverged; nothing computed is lost.
    """
    devices = run_devices(config)
    model = checked_backbone(configured_model(config, devices.this_process), config)
    index = audio_index(config)
    datasets = {
        LEARNT: describe_datasets([one.row for one in data.split.training], index.manifest),
        SET_ASIDE: describe_datasets([one.row for one in data.split.validation], index.manifest),
    }
    facts = model_facts(config, model, devices) | {
        "data": {name: list(map(asdict, one)) for name, one in datasets.items()},
        "guards": data.facts,
    }
    metadata = run_metadata(config, facts)
    with recorded(folder, metadata):
        _learnt(data.split, config)  # a mistake is told before hours of encoding
        embeddings, split = _embedded(data.split, model, config, devices, index, folder)
        setting = _Setting(model, devices, datasets, embeddings, split, data.checked.describe(), metadata, started)
        recorded_rows = {**datasets, CHECKED: data.checked.datasets}
        description = _description(config, metadata, recorded_rows, model, devices)
        tracker = training_tracker_of(config.tracking, description, folder)
        train = _train_one if config.seeds == 1 else _train_ensemble
        train(setting, config, folder, tracker)


@dataclass(frozen=True)
class _Setting:
    """What trainings of several seeds have in common."""

    model: EmbeddingModel
    devices: Devices
    datasets: Mapping[str, Sequence[ScoredDataset]]
    embeddings: TrainingEmbeddings
    split: Split
    guards: str
    """What came of the comparison with rows of test sets, for the model card."""
    metadata: dict[str, Any]
    """Of the run."""
    started: float
    """By `time.monotonic`."""


@dataclass(frozen=True)
class _Training:
    """What is trained, and on what; its folder belongs to it."""

    setting: _Setting
    key: str
    """What it is; see `training_key`."""
    head: Head
    objective: Objective
    learnt: Sequence[Example]
    rows: Sequence[LearntRow]
    """What is learnt from, as the objective sees it."""
    validation: Validation
    workers: int
    """Processes that read embeddings; none where all of them fit into memory."""


class _Trained(NamedTuple):
    """A training that is done."""

    training: _Training
    kept: KeptCheckpoints
    fitted: Fitted

    @property
    def best(self) -> Path:
        """The folder of the best checkpoint."""
        return self.kept.path(self.best_step)

    @property
    def best_step(self) -> int:
        """Its step."""
        assert self.kept.best is not None
        return self.kept.best


def _train_one(setting: _Setting, config: TrainTask, folder: Path, tracker: TrainingTracker) -> None:
    training = _begin(setting, config, folder)
    with _recording(tracker, folder):
        trained = _fit(training, config, folder, tracker)
        if not is_rank_zero():
            return
        setting.metadata["training"] = _outcome(trained)
        lines = training.validation.results(trained.fitted.best_scores)
        label = f"step {trained.best_step:,} on the rows set aside (the best by {config.train.monitor})"
        evaluation = _report(setting, config, folder, lines, label)
        tracker.curves(trained.best_step, validation_curves(evaluation.summary))
    print_view(_next(config, folder, trained))


def _train_ensemble(setting: _Setting, config: TrainTask, folder: Path, tracker: TrainingTracker) -> None:
    """Train one head after the other, each in a folder of its own, and make one model of the best of each."""
    with _recording(tracker, folder):
        trained = {
            seed: _train_member(setting, replace(config, seed=seed, seeds=1), member_folder(folder, seed), tracker)
            for seed in range(config.seed, config.seed + config.seeds)
        }
        if not is_rank_zero():
            return
        members = [Member(seed, one.best, one.best_step, one.fitted.best_scores) for seed, one in trained.items()]
        setting.metadata["training"] = {"members": {seed: _outcome(one) for seed, one in trained.items()}}
        training = trained[config.seed].training
        lines = training.validation.results(member_scores(members))
        label = f"ensemble of {len(members)} on the rows set aside (of each seed the best by {config.train.monitor})"
        figures = validation_curves(_report(setting, config, folder, lines, label).summary)
        writer = _writer(training, config, content_key(members=[one.training.key for one in trained.values()]))
        step = write_ensemble(folder / ENSEMBLE, writer, members, figures)
        tracker.checkpoint(step, folder / ENSEMBLE, figures)
    print_view(_next_of_ensemble(config, folder, members))


def _train_member(setting: _Setting, config: TrainTask, folder: Path, tracker: TrainingTracker) -> _Trained:
    """Train the head of one seed as if it were the only one; one that is trained already is not trained again."""
    if is_rank_zero():
        log.info("Seed %d, in %s", config.seed, folder)
    folder.mkdir(parents=True, exist_ok=True)
    training, of_member = _begin(setting, config, folder), tracker.member(config.seed, folder)
    with _recording(of_member, folder):
        return _fit(training, config, folder, of_member)


def _embedded(
    split: Split, model: EmbeddingModel, config: TrainTask, devices: Devices, index: ManifestIndex, folder: Path
) -> tuple[TrainingEmbeddings, Split]:
    """Fill the cache for all rows; return what reads it, and the rows that have embeddings."""
    rows = [one.row for one in (*split.training, *split.validation)]
    place = folder / "embedding"
    models = {str(config.model["name"]): model}
    runner = lightning_runner(config, devices)
    fill_as_configured(rows, models, runner, config, form=EmbeddingForm.compact, index=index, folder=place)
    embeddings = TrainingEmbeddings.of(
        model,
        rows,
        max_dur=config.max_dur,
        cache=run_cache(config, place),
        root=Path(config.data.root),
        index=index,
        memory_gb=config.train.memory_gb,
    )
    if config.on_error is OnError.fail:
        return embeddings, split
    missing = {row.index for row in embeddings.missing(rows)}
    if missing and is_rank_zero():
        log.warning("Left out %d rows without embeddings (on_error=record).", len(missing))
    training = tuple(one for one in split.training if one.row.index not in missing)
    validation = tuple(one for one in split.validation if one.row.index not in missing)
    return embeddings, replace(split, training=training, validation=validation)


def _begin(setting: _Setting, config: TrainTask, folder: Path) -> _Training:
    """Build the objective and the head, and make the folder the training's, with what was written of it before.

    Raises:
        UserError: The loss cannot learn from the labels, or the head's options are not right.
    """
    seed_everything(config.seed, workers=True, verbose=False)
    split, embeddings = setting.split, setting.embeddings
    objective, learnt, rows = _learnt(split, config)
    objective.start_from(label for row in rows for label in row.labels)
    head = _head(embeddings, learnt, setting.model, config)
    validation = Validation(split.validation, objective, config.metrics, monitor=config.train.monitor)
    key = training_key(config, setting.model, head, setting.datasets, setting.devices)
    if is_rank_zero():
        index = on_this_machine(place_of(config.cache.dir)) / INDEX if config.cache.dir else None
        take_up(folder, key, index=index, resume=config.resume)
    fits = embeddings.size(one.row for one in (*learnt, *split.validation)) <= config.train.memory_gb * GIGABYTE
    workers = 0 if fits else config.workers
    return _Training(setting, key, head, objective, learnt, rows, validation, workers)


def _learnt(split: Split, config: TrainTask) -> tuple[Objective, list[Example], list[LearntRow]]:
    """Return the objective, and the examples that it learns from, as they are and as it sees them.

    Raises:
        UserError: The loss cannot learn from the labels.
    """
    objective = Objective(config.loss, {one.source for one in split.training})
    all_rows = learnt_rows(split.training, objective)
    used = [(example, row) for example, row in zip(split.training, all_rows, strict=True) if row.labels]
    if not used:
        raise UserError(
            f"loss={config.loss.name} uses none of the labels of {len(all_rows):,} rows.",
            "Choose another loss, or rows with labels that it uses.",
        )
    learnt, rows = [example for example, _ in used], [row for _, row in used]
    if config.loss.ratings.kind is RatingLossKind.list_mle and lack_lists(rows):
        raise UserError(
            "loss.ratings.kind=list_mle compares the clips of a prompt, and in no prompt are two rated differently.",
            "Use loss.ratings.kind=ordinal or tanh_mse, or rows with prompts.",
        )
    return objective, learnt, rows


def _head(embeddings: TrainingEmbeddings, learnt: Sequence[Example], model: EmbeddingModel, config: TrainTask) -> Head:
    widths = Widths.of((clip for row in _telling(learnt) for clip in embeddings.read(row.row)), model.unused_inputs)
    head = build_head(config.head, widths, backbone=model, seed=config.seed)
    if type(head).fit_statistics is not Head.fit_statistics:
        chosen = learnt[:: -(-len(learnt) // ROWS_FOR_STATISTICS)]
        head.fit_statistics([clip for one in chosen for clip in embeddings.read(one.row)])
    return head


def _telling(learnt: Sequence[Example]) -> list[Example]:
    """Return a few rows that have together whatever any row has."""
    found = [
        next((one for one in learnt if getattr(one.row, name)), learnt[0]) for name in ("prompt", "lyrics", "ref_audio")
    ]
    return list({one.row.index: one for one in found}.values())


def _fit(training: _Training, config: TrainTask, folder: Path, tracker: TrainingTracker) -> _Trained:
    settings, rows, read = config.train, training.rows, training.setting.embeddings.read
    sampler = Sampler(
        training.learnt, config.sampling, batch_size=settings.batch_size, steps=settings.max_steps, seed=config.seed
    )
    validated = training.validation.rows
    module = TrainingModule(
        training.head,
        training.objective,
        config.optimizer,
        training=lambda share: TrainingBatches(rows, sampler, read, share, steps=settings.max_steps),
        validation=lambda share: ValidationBatches(validated, read, share, size=settings.batch_size),
        steps=settings.max_steps,
        accumulate=settings.accumulate,
        seed=config.seed,
        workers=training.workers,
        state_seconds=settings.save_seconds,
    )
    writer = _writer(training, config, training.key)

    def write(path: Path, step: int, figures: Mapping[str, float]) -> None:
        writer.write(path, [training.head], [config.seed], step=step, figures=figures)

    kept = KeptCheckpoints(
        folder, write, training.validation.is_lower_better, every=settings.keep_every, last=settings.keep_last
    )
    fitted = fit(
        module,
        training.validation,
        kept,
        settings,
        folder=folder,
        trainer_settings=config.trainer,
        devices=training.setting.devices,
        tell=tracker.curves,
    )
    return _Trained(training, kept, fitted)


def _writer(training: _Training, config: TrainTask, run: str) -> CheckpointWriter:
    setting, sampling = training.setting, config.sampling
    card = describe_card(
        config,
        setting.model,
        run=run,
        learnt=training.learnt,
        validation=setting.split.validation,
        guards=setting.guards,
    )
    return CheckpointWriter(
        setting.model,
        config.model,
        config.max_dur,
        card,
        run,
        aspects=[aspect for aspect in training.objective.aspect_weights if _is_labelled(aspect, training.rows)],
        dropout={"text": sampling.drop_text, "lyrics": sampling.drop_lyrics, "ref_audio": sampling.drop_ref_audio},
        with_encoders=config.train.with_encoders,
    )


def _is_labelled(aspect: str, rows: Sequence[LearntRow]) -> bool:
    return any(label.aspect == aspect for row in rows for label in row.labels)


def _description(
    config: TrainTask,
    metadata: Mapping[str, Any],
    datasets: Mapping[str, Sequence[ScoredDataset]],
    model: EmbeddingModel,
    devices: Devices,
) -> TrainingDescription:
    def describe_checkpoint(folder: Path) -> ScoredModel:
        kind = kind_of_checkpoint(str(folder))
        assert kind is not None
        shipped = OmegaConf.to_container(OmegaConf.load(conf_folder() / "model" / f"{kind.model}.yaml"))
        assert isinstance(shipped, dict)
        spec = {str(key): value for key, value in shipped.items()} | {"checkpoint": str(folder)}
        scored = replace(config, model=spec)
        return describe_model(spec, model_facts(scored, configured_model(scored, "cpu"), devices)["model"])

    return TrainingDescription(
        describe_training(config, metadata, sweep_place()),
        describe_checkpoint,
        datasets,
        source=config.data.train_jsonl or config.data.csv or "",
        seeds=config.seeds,
    )


@contextlib.contextmanager
def _recording(tracker: TrainingTracker, folder: Path) -> Iterator[None]:
    """Tell the tracker of a training how it begins and ends, and what is kept of it; on rank 0."""
    if not is_rank_zero():
        yield
        return
    tracker.start()
    for line in read_history(folder / HISTORY):  # of before it was resumed, where the tracker missed something
        tracker.curves(int(line["step"]), {name: value for name, value in line.items() if name != "step"})
    status = "FAILED"
    try:
        yield
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        checkpoints = read_checkpoints(folder)
        for one in checkpoints:
            tracker.checkpoint(one.step, one.folder, one.figures)
        cards = [one / CARD for one in (folder / ENSEMBLE, *(kept.folder for kept in checkpoints if kept.is_best))]
        files = [*(folder / name for name in RECORDED), *cards]
        tracker.close(status, [file for file in files if file.exists()])


def _outcome(trained: _Trained) -> dict[str, Any]:
    """Return what `metadata.json` says of a training that is done."""
    fitted = trained.fitted
    waited = fitted.seconds_waited / fitted.seconds if fitted.seconds else 0.0
    figures = trained.kept.figures[trained.best_step]
    return {
        "key": trained.training.key,
        "steps": fitted.steps,
        "stopped_early": fitted.stopped_early,
        "resumed_from": fitted.resumed_from,
        "processes": fitted.processes,
        "seconds": round(fitted.seconds, 3),
        "share_waiting_for_data": round(waited, 4),
        "best": {"step": trained.best_step, "folder": str(trained.best), "validation": figures},
    }


def _report(
    setting: _Setting, config: TrainTask, folder: Path, lines: Sequence[Mapping[str, Any]], label: str
) -> Evaluation:
    """Evaluate the best weights on the rows set aside, with intervals, and write the files.

    Args:
        setting: Of the training.
        config: Its configuration.
        folder: Its folder.
        lines: Of the results file.
        label: What was scored, for people.
    """
    metadata = setting.metadata
    metadata["seconds"] = {"wall": round(time.monotonic() - setting.started, 3)}
    metadata |= facts_afterwards(metadata, setting.model)
    results = folder / RESULTS_FILE
    write_json_lines(results, lines)
    # The rows' audio is where training rows have it.
    placed = replace(config.data, root=config.data.train_root if config.data.train_jsonl else config.data.root)
    measured = replace(config, data=placed, metrics=replace(config.metrics, split=SPLIT))
    report = evaluate_and_report(lines, measured, folder=folder, label=label, origin=str(results), metadata=metadata)
    write_text_atomic(folder / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(resolved_config(config))))
    write_metadata(folder / METADATA_FILE, metadata | {"status": "finished"})
    return report.evaluation


def _next(config: TrainTask, folder: Path, trained: _Trained) -> str:
    """Return where the checkpoints are, and what to do with them."""
    fitted, others = trained.fitted, len(trained.kept.figures) - 1
    lines = [
        f"Trained {fitted.steps:,} steps{', ended early' if fitted.stopped_early else ''}."
        f" Best: {trained.best}{f'; {others} more in {folder / CHECKPOINTS}' if others else ''}",
        "Next:",
        f"  {command_line(f'model.checkpoint={trained.best}', *_data_words(config))}",
    ]
    if others:
        sweep = ("-m", "+sweep=checkpoints", f"sweep.checkpoint_dir={folder / CHECKPOINTS}", *_data_words(config))
        lines.append(f"  {command_line(*sweep)}")
    return "\n".join(lines)


def _next_of_ensemble(config: TrainTask, folder: Path, members: Sequence[Member]) -> str:
    steps = ", ".join(f"{member.step:,}" for member in members)
    checkpoint = folder / ENSEMBLE
    first = member_folder(folder, members[0].seed)
    return (
        f"Trained {len(members)} heads, each in a folder of its own ({first}, ...). Best steps: {steps}.\n"
        f"Of the best of each one model was made: {checkpoint}\n"
        f"Next:\n  {command_line(f'model.checkpoint={checkpoint}', *_data_words(config))}"
    )


def _data_words(config: TrainTask) -> list[str]:
    """Return the words of a run on the test rows of the training's data: without a file of them, on the benchmark's."""
    return [f"data={config.data.name}"] if config.data.jsonl else []
