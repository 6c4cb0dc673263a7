"""Scoring as a task does it: devices, Lightning's loop, metadata from the start, evaluation, MLflow last.

`task=benchmark`, `task=sanity` and `task=conformance` share its parts.
"""

import contextlib
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning.pytorch import Callback, seed_everything
from omegaconf import OmegaConf

from cmi_bench.config import Config
from cmi_bench.data.audio_info import ManifestIndex
from cmi_bench.data.chosen import ChosenRows
from cmi_bench.data.manifest import Manifest, read_manifest, update_manifest
from cmi_bench.data.own import OwnTable
from cmi_bench.data.rows import RESULTS_FILE, Row, RowSet, names_anywhere
from cmi_bench.errors import UserError
from cmi_bench.models.base import BenchmarkModelABC
from cmi_bench.models.registry import configured_model
from cmi_bench.reporting.times import describe_times
from cmi_bench.scoring.batching import BatchLimits, Runner
from cmi_bench.scoring.code_identity import code_identity
from cmi_bench.scoring.embedding_cache import GIGABYTE, prune_after_run
from cmi_bench.scoring.encoding_rate import encoding_rate
from cmi_bench.scoring.local import LocalRunner
from cmi_bench.scoring.profiling import Profile
from cmi_bench.scoring.requests import ClipBlocks
from cmi_bench.scoring.results import iter_results
from cmi_bench.scoring.run_stats import RunStats
from cmi_bench.scoring.score import ScoredBlocks, score_blocks
from cmi_bench.scoring.trainer import LightningRunner
from cmi_bench.tasks.evaluate import evaluate_and_report
from cmi_bench.tracking.callback import TrackingCallback
from cmi_bench.tracking.description import describe_run, model_label
from cmi_bench.tracking.ledger import LOOKS, count_looks, looks_of, read_ledger, record_looks
from cmi_bench.tracking.metadata import METADATA_FILE, resolved_config, run_metadata, write_metadata
from cmi_bench.tracking.scored_data import describe_datasets
from cmi_bench.tracking.sweep_plan import SweepPlace, sweep_place
from cmi_bench.tracking.tracker import RunOutcome, Tracker
from cmi_bench.tracking.trackers import tracker_of
from cmi_bench.utils.console import ItemCount, ProgressBar, peak_memory, print_view, spinner
from cmi_bench.utils.distributed import Devices, is_rank_zero, resolve_devices
from cmi_bench.utils.files import file_digest, write_text_atomic
from cmi_bench.utils.json_lines import JsonLines, write_json_lines

log = logging.getLogger(__name__)


def run_devices(config: Config) -> Devices:
    """Return the devices that the configuration asks for.

    Raises:
        UserError: A device that is not there, or several of them in a job of a sweep.
    """
    devices = resolve_devices(config.trainer["accelerator"], config.trainer["devices"])
    # Lightning starts its other processes by replaying the command line, which would be the whole sweep.
    started_outside = "TORCHELASTIC_RUN_ID" in os.environ or "SLURM_PROCID" in os.environ
    if devices.count > 1 and HydraConfig.get().mode is RunMode.MULTIRUN and not started_outside:
        raise UserError(
            f"A sweep runs each job on one device; this one has {devices.count}.",
            "Use device=cuda:0 (or another single device), or start the processes with torchrun.",
        )
    return devices


def lightning_runner(config: Config, devices: Devices, callbacks: Sequence[Callback] = ()) -> LightningRunner:
    """Return what runs stages in Lightning's loop, on all devices of a run.

    Args:
        config: The run's configuration.
        devices: Where.
        callbacks: Further Lightning callbacks (tracking).
    """
    limits = BatchLimits(config.batch_size, config.batch_seconds)
    return LightningRunner(config.trainer, devices, limits=limits, workers=config.workers, callbacks=callbacks)


def profile_of(config: Config) -> Profile:
    """Return what records the stages of a run, on rank 0 and with `profile=true`."""
    return Profile(is_on=config.profile and is_rank_zero())


def show_trace(profile: Profile, folder: Path) -> None:
    """Say where the trace of a run is, and of what."""
    if text := profile.describe(folder):
        print_view(text)


def audio_index(config: Config) -> ManifestIndex:
    """Return what tells digests and lengths of a run's audio."""
    return ManifestIndex(Path(config.data.root), read_manifest(Path(config.data.manifest)))


@contextlib.contextmanager
def recorded(folder: Path, metadata: Mapping[str, Any]) -> Iterator[None]:
    """Keep `metadata.json` true from the start: "running", and "failed" with the reason if it comes to that."""
    if not is_rank_zero():
        yield
        return
    path = folder / METADATA_FILE
    write_metadata(path, {**metadata, "status": "running"})
    try:
        yield
    except BaseException as error:
        with contextlib.suppress(OSError):  # what was raised may be that the disk is full
            write_metadata(path, {**metadata, "status": "failed", "error": f"{type(error).__name__}: {error}"})
        raise


def model_facts(config: Config, model: BenchmarkModelABC, devices: Devices) -> dict[str, Any]:
    """Return what `metadata.json` says of the model and where it ran."""
    implementation = type(model.implementation)
    return {
        "model": {
            "name": model_label(config.model),
            "class": f"{implementation.__module__}.{implementation.__qualname__}",
            "digest": model.digest,
            "weights": model.weights_digest,
            "code": code_identity(model),
            "sr": int(model.sr),
        },
        "device": f"{devices.accelerator} {devices.selected}",
        "precision": config.precision.value,
    }


def facts_afterwards(metadata: Mapping[str, Any], model: BenchmarkModelABC) -> dict[str, Any]:
    """Return what can be said when the scores are there: peak memory, and what the model says of how it computed."""
    return {"model": {**metadata["model"], **model.facts}, "memory": peak_memory()}


def audio_facts(config: Config, rows: Sequence[Row]) -> dict[str, Any]:
    """Bring the manifest up to date for the rows' audio, and return what identifies that audio.

    Where nothing has changed since the last time, no audio file is opened. Otherwise each new file is read
    once for its digest and headers, which is little beside scoring it; nothing is decoded.
    """
    root, file = Path(config.data.root), Path(config.data.manifest)
    manifest = update_manifest(root, file, _audio_of(rows), progress=ItemCount("looking at the audio"))
    return describe_audio(manifest, _audio_of(rows), names_anywhere(rows)) | {
        "manifest": str(file),
        "manifest_sha256": file_digest(file) if file.is_file() else None,
        "datasets": [asdict(one) for one in describe_datasets(rows, manifest)],
    }


def _audio_of(rows: Iterable[Row]) -> Iterator[str]:
    return (path for row in rows for path in row.audio_files)


def describe_audio(manifest: Manifest, paths: Iterable[str], names: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return number, size, digest and decoders of files; those that are missing are left out.

    Args:
        manifest: Knows the files.
        paths: The files.
        names: See `Manifest.audio_digest`.
    """
    places = manifest.records.places_of(paths)
    return {
        "audio_files": len(places),
        "audio_bytes": sum(manifest.records.column("bytes", places)),
        "audio_sha256": manifest.digest_of(places, names),
        "audio_decoders": dict(Counter(decoder or "none" for decoder in manifest.records.column("decoder", places))),
    }


@dataclass(frozen=True)
class RunHost:
    """What scores the rows of a run, and where: a command and a Python program choose differently."""

    build: Callable[[], BenchmarkModelABC]
    """Returns the model, on this process's device."""
    devices: Devices
    runner: Callable[[TrackingCallback], Runner]
    """Returns what runs the stages, and has the tracker follow."""
    place: SweepPlace | None = None
    """Where the run stands in a sweep."""
    is_shown: bool = True
    """Whether to print the summary."""


def command_host(config: Config) -> RunHost:
    """Return what a command scores with: the configured model, in Lightning's loop on all devices of the run.

    Raises:
        UserError: See `run_devices`.
    """
    devices = run_devices(config)
    return RunHost(
        build=lambda: configured_model(config, devices.this_process),
        devices=devices,
        runner=lambda tracking: lightning_runner(config, devices, [tracking]),
        place=sweep_place(),
    )


def program_host(build: Callable[[], BenchmarkModelABC], devices: Devices, config: Config) -> RunHost:
    """Return what a Python program scores with: a model in its own process, without Lightning's loop.

    Args:
        build: Returns the model.
        devices: Where it is.
        config: The run's configuration.
    """

    def runner(tracking: TrackingCallback) -> Runner:
        tracking.tracker.start()
        limits = BatchLimits(config.batch_size, config.batch_seconds)
        return LocalRunner(limits, workers=config.workers, show_progress=True)

    return RunHost(build, devices, runner, is_shown=False)


def table_facts(tables: Iterable[OwnTable]) -> dict[str, Any]:
    """Return what identifies tables of the user's own, and where their songs are; nothing without tables."""
    own = {
        table.name: {
            "file": str(table.table.file),
            "sha256": file_digest(table.table.file),
            "root": str(table.root.absolute()),
        }
        for table in tables
    }
    return {"own": own} if own else {}


def score_rows(data: ChosenRows, config: Config, folder: Path, host: RunHost, *, started: float) -> RunOutcome | None:
    """Score rows, evaluate the scores, report and record them in `folder`.

    Args:
        data: The rows.
        config: The run's configuration.
        folder: The run's folder.
        host: What scores them, and where.
        started: When the run started, by `time.monotonic`.

    Returns:
        What the run came to; None in all processes but the first.

    Raises:
        UserError: The model or the device is not right; nothing already scored is lost.
    """
    seed_everything(config.seed, workers=True, verbose=False)
    chosen, stats = data.rows, RunStats()
    with stats.timed("load"):
        model = host.build()
    model.bind_rows(chosen.rows)  # known-answer models look at the labels
    audio = audio_facts(config, chosen.rows) | table_facts(data.tables) if is_rank_zero() else {}
    metadata = run_metadata(config, _facts(config, model, host.devices, chosen) | {"data": audio})
    if is_rank_zero():
        log.info("Scoring %s", _describe(metadata))
    with recorded(folder, metadata), TrackingCallback(_tracker(config, metadata, host.place)) as tracking:
        blocks, profile = ClipBlocks(chosen.rows, Path(config.data.root)), profile_of(config)
        with _bar_over(blocks, metadata["counts"]["clips"]) as bar:
            scored = score_blocks(
                blocks,
                model,
                profile.runner(host.runner(tracking)),
                config=config,
                index=audio_index(config),
                folder=folder,
                progress=bar,
                stats=stats,
            )
        if not is_rank_zero():
            return None
        metadata |= facts_afterwards(metadata, model)
        device, precision = host.devices.this_process, config.precision.value
        metadata |= encoding_rate(scored.stats, model, device=device, precision=precision)
        outcome = _finish(
            config, folder, chosen, scored, metadata=metadata, host=host, profile=profile, started=started
        )
        # This also starts the tracking of a run whose scores were all stored: it has been through no loop.
        with spinner("recording the run", is_shown=host.is_shown):
            tracking.record(outcome)
        _prune(config)
        return outcome


def _bar_over(blocks: ClipBlocks, clips: int) -> contextlib.AbstractContextManager[ProgressBar | None]:
    """Return a bar over all blocks, on rank 0; None where one block has bars enough."""
    if len(blocks) < 2:
        return contextlib.nullcontext()
    return ProgressBar("scoring", clips if is_rank_zero() else 0, unit="clip", patience=0)


def _finish(
    config: Config,
    folder: Path,
    chosen: RowSet,
    scored: ScoredBlocks,
    *,
    metadata: dict[str, Any],
    host: RunHost,
    profile: Profile,
    started: float,
) -> RunOutcome:
    """Write the files; the tracker is a sink, and is told after."""
    # First: a run that stops from here on has been seen to be scored.
    metadata |= _looks(config, metadata, folder)
    results = folder / RESULTS_FILE
    with scored.stats.timed("write"):
        write_json_lines(results, iter_results(chosen.rows, scored.scores, is_ensemble=scored.scores.is_ensemble))
    rows = JsonLines(results)
    metadata["counts"] |= scored.stats.counts
    metadata["batch_check"] = scored.batch_check.to_json() if scored.batch_check else None
    traced = profile.write(folder, scored.stats)
    metadata |= scored.stats.over(time.monotonic() - started)
    label = model_label(config.model)
    report = evaluate_and_report(
        rows, config, folder=folder, label=label, origin=str(results), metadata=metadata, is_shown=host.is_shown
    )
    if host.is_shown and host.place is None and (time_note := describe_times(metadata)):  # a sweep has lines enough
        print_view(time_note)
    if host.is_shown:
        show_trace(profile, folder)
    resolved = folder / "config.yaml"
    write_text_atomic(resolved, OmegaConf.to_yaml(OmegaConf.create(resolved_config(config))))
    write_metadata(folder / METADATA_FILE, metadata | {"status": "finished"})
    files = [results, *report.files, resolved, folder / METADATA_FILE, *traced]
    return RunOutcome(report.evaluation, rows, metadata, files)


def _looks(config: Config, metadata: Mapping[str, Any], folder: Path) -> dict[str, int]:
    """Write the run's looks at test sets into the ledger, and return how many its training has had."""
    looks = looks_of(metadata, folder)
    if not config.ledger or not looks:
        return {}
    record_looks(Path(config.ledger), looks)
    return {LOOKS: count_looks(read_ledger(Path(config.ledger)), looks)}


def _prune(config: Config) -> None:
    """Keep the cache within its bound."""
    removed = prune_after_run(config.cache)
    if removed.entries:
        log.info("Pruned %d embeddings (%.1f GB) from the cache.", removed.entries, removed.bytes / GIGABYTE)


def _facts(config: Config, model: BenchmarkModelABC, devices: Devices, chosen: RowSet) -> dict[str, Any]:
    kinds = Counter((row.dataset.name, row.audio_b is not None) for row in chosen.rows)
    rows: Counter[str] = Counter()
    for (dataset, _), number in kinds.items():
        rows[dataset] += number
    counts = {
        "rows": dict(rows),
        "rows_of_unknown_source": sum(chosen.unknown_sources.values()),
        "clips": sum(number * (1 + is_paired) for (_, is_paired), number in kinds.items()),
    }
    return model_facts(config, model, devices) | {"counts": counts}


def _describe(metadata: Mapping[str, Any]) -> str:
    counts = metadata["counts"]
    rows = ", ".join(f"{name} {count}" for name, count in counts["rows"].items())
    return f"{counts['clips']} clips ({rows} rows) with {metadata['model']['name']} on {metadata['device']}"


def _tracker(config: Config, metadata: Mapping[str, Any], place: SweepPlace | None) -> Tracker:
    return tracker_of(config.tracking, describe_run(config, metadata, place))
