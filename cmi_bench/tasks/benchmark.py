"""`task=benchmark`: score the rows with the model, evaluate, report, record."""

import logging
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import seed_everything
from omegaconf import OmegaConf

from cmi_bench.config import Config
from cmi_bench.data.rows import RowSet
from cmi_bench.inference.clips import clips_of
from cmi_bench.inference.devices import Devices
from cmi_bench.inference.embedding_cache import GIGABYTE, EmbeddingCache
from cmi_bench.inference.results import results_rows, to_jsonl
from cmi_bench.inference.score import Scored
from cmi_bench.models.configured import configured_model
from cmi_bench.models.contract import RewardModel
from cmi_bench.ranks import is_rank_zero
from cmi_bench.reporting.atomic import write_text_atomic
from cmi_bench.sweeps.place import sweep_place
from cmi_bench.tasks.audio_facts import audio_facts
from cmi_bench.tasks.recording import facts_afterwards, model_facts, recorded
from cmi_bench.tasks.report import evaluate_and_report
from cmi_bench.tasks.rows import load_run_rows
from cmi_bench.tasks.scoring import run_devices, score_as_configured
from cmi_bench.tracking.describe import describe_run, model_label
from cmi_bench.tracking.metadata import resolved_config, run_metadata, write_metadata
from cmi_bench.tracking.mlflow_callback import MLflowCallback
from cmi_bench.tracking.mlflow_run import TrackingSettings

log = logging.getLogger(__name__)


def run(config: Config, folder: Path) -> None:
    """Run the benchmark; every output goes to `folder`.

    Raises:
        UserError: Rows, audio, model or device are not right; nothing already scored is lost.
    """
    started = time.monotonic()
    seed_everything(config.seed, workers=True, verbose=False)
    chosen = load_run_rows(config)
    devices = run_devices(config)
    model = _build(config, devices, chosen)
    audio = audio_facts(config, chosen.rows) if is_rank_zero() else {}
    metadata = run_metadata(config, _facts(config, model, devices, chosen) | {"data": audio})
    if is_rank_zero():
        log.info("Scoring %s", _in_words(metadata))
    with recorded(folder, metadata), _tracker(config, metadata) as tracker:
        clips = clips_of(chosen.rows, Path(config.data.root))
        scored = score_as_configured(clips, model, config, devices=devices, folder=folder, callbacks=[tracker])
        if is_rank_zero():
            metadata["seconds"] = {"wall": time.monotonic() - started}
            metadata |= facts_afterwards(metadata, model)
            _finish(config, folder, chosen, scored, metadata=metadata, tracker=tracker)
            _prune(config)


def _build(config: Config, devices: Devices, chosen: RowSet) -> RewardModel:
    model = configured_model(config, devices.this_process)
    if hasattr(model, "bind_rows"):  # known-answer models look at the labels
        model.bind_rows(chosen.rows)
    return model


def _finish(
    config: Config, folder: Path, chosen: RowSet, scored: Scored, *, metadata: dict[str, Any], tracker: MLflowCallback
) -> None:
    """Write the files, then tell MLflow: tracking is a sink, and comes last."""
    rows = results_rows(chosen.rows, scored.scores)
    results = folder / "results.jsonl"
    write_text_atomic(results, to_jsonl(rows))
    metadata["counts"] |= scored.tally.counts
    metadata["seconds"] = {
        name: round(seconds, 3) for name, seconds in (scored.tally.seconds | metadata["seconds"]).items()
    }
    label = model_label(config.model)
    report = evaluate_and_report(rows, config, folder=folder, label=label, origin=str(results), metadata=metadata)
    resolved = folder / "config.yaml"
    write_text_atomic(resolved, OmegaConf.to_yaml(OmegaConf.create(resolved_config(config))))
    write_metadata(folder / "metadata.json", metadata | {"status": "finished"})
    counts = metadata["counts"]
    tracker.start()  # a run whose scores were all stored has not been through Lightning's loop
    tracker.log_metrics(report.metrics | {"n_failed": counts["failed"], "clips_scored": counts["scored"]})
    tracker.log_files([results, *report.files, resolved, folder / "metadata.json"])


def _prune(config: Config) -> None:
    """Keep the cache within its bound."""
    if config.cache.dir is None:
        return
    removed = EmbeddingCache(Path(config.cache.dir) / "embeddings").prune(config.cache.max_gb)
    if removed.entries:
        log.info("Pruned %d embeddings (%.1f GB) from the cache.", removed.entries, removed.bytes / GIGABYTE)


def _facts(config: Config, model: RewardModel, devices: Devices, chosen: RowSet) -> dict[str, Any]:
    rows = Counter(row.dataset.name for row in chosen.rows)
    counts = {
        "rows": dict(rows),
        "rows_of_unknown_source": sum(chosen.unknown_sources.values()),
        "clips": len(clips_of(chosen.rows, Path())),
    }
    return model_facts(config, model, devices) | {"counts": counts}


def _in_words(metadata: Mapping[str, Any]) -> str:
    counts = metadata["counts"]
    rows = ", ".join(f"{name} {count}" for name, count in counts["rows"].items())
    return f"{counts['clips']} clips ({rows} rows) with {metadata['model']['name']} on {metadata['device']}"


def _tracker(config: Config, metadata: Mapping[str, Any]) -> MLflowCallback:
    tracking = config.tracking
    settings = TrackingSettings(tracking.uri, tracking.experiment, tracking.artifacts)
    return MLflowCallback(settings, describe_run(config, metadata, sweep_place()))
