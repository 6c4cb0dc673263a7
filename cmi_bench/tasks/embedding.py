"""Embedding as a task does it: the model on its devices, the cache filled in Lightning's loop, what it came to."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from lightning.pytorch import seed_everything
from rich.filesize import decimal

from cmi_bench.config import Config
from cmi_bench.data.audio_info import ManifestIndex
from cmi_bench.data.rows import Row
from cmi_bench.errors import UserError
from cmi_bench.models.base import BenchmarkModelABC, EmbeddingModel
from cmi_bench.models.registry import configured_model
from cmi_bench.reporting.times import describe_times
from cmi_bench.scoring.batching import Runner
from cmi_bench.scoring.embedding_cache import EmbeddingCache
from cmi_bench.tasks.run_models import configs_of_models
from cmi_bench.tasks.scoring import (
    audio_facts,
    audio_index,
    facts_afterwards,
    lightning_runner,
    model_facts,
    profile_of,
    recorded,
    run_devices,
    show_trace,
)
from cmi_bench.tracking.metadata import METADATA_FILE, run_metadata, write_metadata
from cmi_bench.training.filling import Filled, fill
from cmi_bench.training_config import EmbeddingForm, EmbedTask
from cmi_bench.utils.addresses import below, place_of
from cmi_bench.utils.console import describe_time, print_view
from cmi_bench.utils.distributed import is_rank_zero
from cmi_bench.utils.files import json_text, write_text_atomic

FAILED_FILE = "failed.json"
SHOWN = 20
"""Failures that are printed; the file has all."""


def checked_backbone(model: BenchmarkModelABC, config: Config) -> EmbeddingModel:
    """Return a model that makes embeddings.

    Raises:
        UserError: It makes none.
    """
    if not isinstance(model, EmbeddingModel):
        raise UserError(
            f"model={config.model['name']} makes no embeddings.",
            "Choose one that embeds, such as cmi_rm, muq_mulan, clap or audio_statistics; docs/models.md has them all.",
        )
    return model


def run_cache(config: Config, folder: Path) -> EmbeddingCache:
    """Return the embedding cache of a run: below `cache.dir`, or with cache=off in the run's own folder."""
    return EmbeddingCache(below(place_of(config.cache.dir) if config.cache.dir else folder, "embeddings"))


def fill_as_configured(
    rows: Sequence[Row],
    models: Mapping[str, EmbeddingModel],
    runner: Runner,
    config: Config,
    *,
    form: EmbeddingForm,
    index: ManifestIndex,
    folder: Path,
) -> Filled:
    """Make the embeddings of rows that the cache lacks; see `training.filling.fill`.

    Args:
        rows: The rows.
        models: The models, on this process's device, by what to call them.
        runner: Runs the stages, on all devices of the run.
        config: The run's configuration.
        form: What is kept of an embedding.
        index: Tells digests and lengths of the rows' audio.
        folder: The run's folder.
    """
    return fill(
        rows,
        models,
        runner,
        config=config,
        form=form,
        cache=run_cache(config, folder),
        root=Path(config.data.root),
        index=index,
        folder=folder,
    )


def embed_rows(rows: Sequence[Row], config: EmbedTask, folder: Path, *, started: float) -> None:
    """Embed rows with the configured models, and say what it came to; metadata and failures go to `folder`.

    Args:
        rows: The rows.
        config: The run's configuration.
        folder: The run's folder.
        started: When the run started, by `time.monotonic`.

    Raises:
        UserError: A model makes no embeddings, or an embedding cannot be made and `on_error=fail`.
    """
    seed_everything(config.seed, workers=True, verbose=False)
    devices = run_devices(config)
    configs = configs_of_models(config)
    models = {name: checked_backbone(configured_model(own, devices.this_process), own) for name, own in configs.items()}
    model, *others = models
    metadata = run_metadata(config, model_facts(config, models[model], devices))
    metadata |= {"also": {name: model_facts(configs[name], models[name], devices)["model"] for name in others}}
    metadata["data"] = audio_facts(config, rows) if is_rank_zero() else {}
    profile = profile_of(config)
    with recorded(folder, metadata):
        filled = fill_as_configured(
            rows,
            models,
            profile.runner(lightning_runner(config, devices)),
            config,
            form=config.embed.form,
            index=audio_index(config),
            folder=folder,
        )
        if not is_rank_zero():
            return
        profile.write(folder, filled.stats)
        wall = time.monotonic() - started
        metadata |= facts_afterwards(metadata, models[model])
        metadata["also"] = {name: {**metadata["also"][name], **models[name].facts} for name in others}
        metadata["counts"] = {"rows": len(rows), "failed": len(filled.failed), **filled.stats.counts}
        metadata |= filled.stats.over(wall)
        if filled.failed:
            write_text_atomic(folder / FAILED_FILE, json_text([one._asdict() for one in filled.failed]))
        write_metadata(folder / METADATA_FILE, metadata | {"status": "finished"})
    print_view(_summary(filled, run_cache(config, folder), wall, folder))
    if time_note := describe_times(metadata, "Embedded"):
        print_view(time_note)
    show_trace(profile, folder)


def _summary(filled: Filled, cache: EmbeddingCache, wall: float, folder: Path) -> str:
    counts, size = filled.stats.counts, cache.size()
    lines = [
        f"Made {counts['files_encoded']:,} embeddings of audio and {counts['texts_encoded']:,} of texts, pooled"
        f" {counts['pooled']:,}: {decimal(counts['bytes_stored'])} in {describe_time(wall)}.",
        f"{cache} holds {size.entries:,} embeddings ({decimal(size.bytes)}).",
    ]
    if counts["kept_in_float32"]:
        lines.append(
            f"{counts['kept_in_float32']:,} windows and texts hold numbers that float16 cannot, above 65,504 or next to"
            " nothing: they are kept in float32."
        )
    if filled.failed:
        lines.append(f"{len(filled.failed)} could not be made ({folder / FAILED_FILE} has them all):")
        lines += [f"  {one}" for one in filled.failed[:SHOWN]]
    return "\n".join(lines)
