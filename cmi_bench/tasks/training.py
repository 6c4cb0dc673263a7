"""Training as the task does it: embeddings, head, loop, validation with intervals, metadata."""

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from lightning.pytorch import seed_everything
from omegaconf import OmegaConf
from safetensors.torch import save

from cmi_bench.data.audio_info import ManifestIndex
from cmi_bench.data.manifest import read_manifest
from cmi_bench.errors import UserError
from cmi_bench.models.base import EmbeddedInput, EmbeddingModel
from cmi_bench.models.heads import Head, Widths, build_head
from cmi_bench.models.registry import configured_model
from cmi_bench.reporting.terminal import summary_view
from cmi_bench.scoring.embedding_cache import EmbeddingCache
from cmi_bench.tasks.scoring import facts_afterwards, lightning_runner, model_facts, recorded, run_devices
from cmi_bench.tracking.metadata import METADATA_FILE, resolved_config, run_metadata, write_metadata
from cmi_bench.training.batches import LearntRow, TrainingBatches, ValidationBatches, learnt_rows
from cmi_bench.training.data import TrainingData
from cmi_bench.training.embeddings import TrainingEmbeddings
from cmi_bench.training.examples import Example
from cmi_bench.training.filling import fill
from cmi_bench.training.fit import fit
from cmi_bench.training.kept import KeptCheckpoints
from cmi_bench.training.module import TrainingModule
from cmi_bench.training.objective import Objective
from cmi_bench.training.sampling import Sampler
from cmi_bench.training.splits import Split
from cmi_bench.training.validation import Validation
from cmi_bench.training_config import EmbeddingForm, TrainTask
from cmi_bench.utils.console import print_view
from cmi_bench.utils.distributed import is_rank_zero
from cmi_bench.utils.files import write_bytes_atomic, write_text_atomic

log = logging.getLogger(__name__)


def train_on(data: TrainingData, config: TrainTask, folder: Path, *, started: float) -> None:
    """Train a head, and write what came of it into `folder`.

    Args:
        data: Examples to learn from and to validate on.
        config: The training's configuration.
        folder: Its folder.
        started: When it started, by `time.monotonic`.

    Raises:
        UserError: The model, the head or the device is not right, or training diverged; nothing computed is lost.
    """
    seed_everything(config.seed, workers=True, verbose=False)
    split = data.split
    devices = run_devices(config)
    model = configured_model(config, devices.this_process)
    if not isinstance(model, EmbeddingModel):
        raise UserError(
            f"model={config.model['name']} makes no embeddings, which heads are trained on.",
            "Use a model that does, such as cmi_rm, muq_mulan or clap.",
        )
    metadata = run_metadata(config, model_facts(config, model, devices))
    with recorded(folder, metadata):
        embeddings = _embedded(split, model, config, folder)
        objective, learnt, rows = _objective(split, config)
        head = _head(embeddings, learnt, model, config)
        sampler = Sampler(
            learnt, config.sampling, batch_size=config.train.batch_size, steps=config.train.max_steps, seed=config.seed
        )
        validation = Validation(split.validation, objective, config.metrics, monitor=config.train.monitor)
        module = TrainingModule(
            head,
            objective,
            config.optimizer,
            training=lambda share: TrainingBatches(rows, sampler, embeddings.read, share, steps=config.train.max_steps),
            validation=lambda share: ValidationBatches(
                validation.rows, embeddings.read, share, size=config.train.batch_size
            ),
            steps=config.train.max_steps,
            accumulate=config.train.accumulate,
            seed=config.seed,
            workers=0,
            state_seconds=60.0,
        )

        def write(path: Path, step: int, figures: Mapping[str, float]) -> None:
            tensors = {name: one.detach().cpu().contiguous() for name, one in head.state_dict().items()}
            write_bytes_atomic(path / "model.safetensors", save(tensors))

        kept = KeptCheckpoints(
            folder, write, validation.is_lower_better, config.train.keep_every, config.train.keep_last
        )
        fitted = fit(
            module, validation, kept, config.train, folder=folder, trainer_settings=config.trainer, devices=devices
        )
        if not is_rank_zero():
            return
        evaluation = validation.evaluate(fitted.best_scores)
        assert kept.best is not None
        print_view(summary_view(evaluation, f"validation of step {kept.best:,}, the best by {config.train.monitor}"))
        print_view(f"Checkpoints: {kept.path(kept.best)} is the best.")
        metadata["seconds"] = {"wall": round(time.monotonic() - started, 3), "training": round(fitted.seconds, 3)}
        metadata |= facts_afterwards(metadata, model)
        write_text_atomic(folder / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(resolved_config(config))))
        write_metadata(folder / METADATA_FILE, metadata | {"status": "finished"})


def _embedded(split: Split, model: EmbeddingModel, config: TrainTask, folder: Path) -> TrainingEmbeddings:
    """Fill the cache for all rows, and return what reads it."""
    root = Path(config.data.root)
    index = ManifestIndex(root, read_manifest(Path(config.data.manifest)))
    cache = EmbeddingCache((Path(config.cache.dir) if config.cache.dir else folder) / "embeddings")
    rows = [one.row for one in (*split.training, *split.validation)]
    runner = lightning_runner(config, run_devices(config))
    fill(
        rows, model, runner, config=config, form=EmbeddingForm.compact, cache=cache, root=root, index=index,
        folder=folder / "embedding",
    )  # fmt: skip
    return TrainingEmbeddings.of(
        model, rows, max_dur=config.max_dur, cache=cache, root=root, index=index, memory_gb=config.train.memory_gb
    )


def _objective(split: Split, config: TrainTask) -> tuple[Objective, list[Example], list[LearntRow]]:
    """Return the loss, and the examples that it learns from, as they are and as it sees them."""
    objective = Objective(config.loss, {one.source for one in split.training})
    rows = learnt_rows(split.training, objective)
    pairs = [(example, row) for example, row in zip(split.training, rows, strict=True) if row.labels]
    if not pairs:
        raise UserError(
            f"loss={config.loss.name} learns from none of the {len(rows):,} rows.", "Choose a loss for these labels."
        )
    objective.start_from(label for _, row in pairs for label in row.labels)
    return objective, [example for example, _ in pairs], [row for _, row in pairs]


def _head(embeddings: TrainingEmbeddings, learnt: Sequence[Example], model: EmbeddingModel, config: TrainTask) -> Head:
    clips: list[EmbeddedInput] = [clip for one in learnt for clip in embeddings.read(one.row)]
    head = build_head(config.head, Widths.of(clips, model.unused_inputs), backbone=model, seed=config.seed)
    head.fit_statistics(clips)
    return head
