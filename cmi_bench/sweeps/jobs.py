"""The jobs of a sweep: their names before any starts, and each one run and recorded.

A job is recorded in `job.json` in its folder, and run unless the same job was finished there before.
"""

import contextlib
import gc
import itertools
import logging
import multiprocessing
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from cmi_bench.hydra_errors import error_message, explain
from cmi_bench.models.checkpoint_names import checkpoint_name, step_of
from cmi_bench.models.registry import target_of
from cmi_bench.scoring.code_identity import code_identity_of
from cmi_bench.tracking.job_record import FAILED, FINISHED, KILLED, RUNNING, JobRecord, read_record, write_record
from cmi_bench.tracking.sweep_plan import PlannedJob, sweep_place
from cmi_bench.utils.console import print_error
from cmi_bench.utils.distributed import is_rank_zero
from cmi_bench.utils.files import content_key, without_credentials

log = logging.getLogger(__name__)

Task = Callable[[DictConfig, Path], None]
"""Runs a task with a job's configuration in the job's folder."""
LOKY = "loky"
"""What joblib's processes have as start method."""
CHECKPOINT = "model.checkpoint"


def swept_keys(overrides_of: Sequence[Sequence[str]], recipe_keys: Sequence[str]) -> list[str]:
    """Return the keys in which jobs differ; of a single job, those of the recipe."""
    values = [override_values(overrides) for overrides in overrides_of]
    keys = dict.fromkeys(key for one in values for key in one)
    swept = [key for key in keys if len({one.get(key) for one in values}) > 1]
    return swept or [key for key in keys if key in recipe_keys]


def plan_jobs(
    overrides_of: Sequence[Sequence[str]],
    swept: Sequence[str],
    *,
    fingerprints: Sequence[str] | None = None,
    folder: Path | None = None,
) -> list[PlannedJob]:
    """Name and number the jobs of a sweep.

    A job that was in the sweep's folder before keeps its number, and so its folder: it is known by its fingerprint, or
    else (its weights or settings have changed) by its label. New jobs get the numbers of those that were stopped before
    they were recorded, and then numbers that nobody has.

    Args:
        overrides_of: Each job's overrides.
        swept: Keys in which they differ.
        fingerprints: What each job is; None numbers the jobs from 0.
        folder: The sweep's folder; None for a new sweep.
    """
    values = [override_values(overrides) for overrides in overrides_of]
    labels = _labels(values, swept)
    numbers = _numbers(labels, fingerprints, folder) if fingerprints and folder else range(len(labels))
    return [
        PlannedJob(number, tuple(map(without_credentials, overrides)), label, _step(one))
        for number, overrides, one, label in zip(numbers, overrides_of, values, labels, strict=True)
    ]


def _numbers(labels: Sequence[str], fingerprints: Sequence[str], folder: Path) -> list[int]:
    there = {int(path.name): read_record(path) for path in folder.glob("*") if path.name.isdecimal() and path.is_dir()}
    known: dict[str, list[int]] = {}
    for number, record in sorted(there.items(), reverse=True):
        if record is not None:
            known.setdefault(record.fingerprint, []).append(number)
    same = [known[one].pop() if known.get(one) else None for one in fingerprints]
    by_label = {record.label: number for number, record in there.items() if record and number not in same}
    found = [
        by_label.pop(label, None) if number is None else number for number, label in zip(same, labels, strict=True)
    ]
    unrecorded = sorted(
        number for number, record in there.items() if record is None and _is_hydras(folder / str(number))
    )
    free = itertools.chain(unrecorded, itertools.count(1 + max([-1, *there])))
    return [next(free) if number is None else number for number in found]


def _is_hydras(folder: Path) -> bool:
    """Whether a job's folder has nothing but what Hydra writes before the job begins."""
    return all(path.name == ".hydra" or path.suffix == ".log" for path in folder.iterdir())


def override_values(overrides: Sequence[str]) -> dict[str, str]:
    """Return what a job's overrides set, by key, without those of Hydra itself."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    set_by = {one.key_or_group: one.value() for one in parsed if not one.is_delete()}
    return {key: str(value) for key, value in set_by.items() if not key.startswith("hydra")}


def _step(values: dict[str, str]) -> int | None:
    return step_of(checkpoint_name(values[CHECKPOINT])) if CHECKPOINT in values else None


def _labels(values: Sequence[dict[str, str]], swept: Sequence[str]) -> list[str]:
    for parts in (1, 2):
        labels = [" ".join(_label_part(key, one[key], parts) for key in swept if key in one) for one in values]
        if len(set(labels)) == len(labels):
            break
    counts = Counter(labels)
    return [
        label if label and counts[label] == 1 else f"{label} #{number}".strip() for number, label in enumerate(labels)
    ]


def _label_part(key: str, value: str, parts: int) -> str:
    if key == CHECKPOINT:
        return checkpoint_name(value, parts)
    return value if key == "model" else f"{key.rpartition('.')[2]}={value}"


def was_finished(folder: Path, overrides: Sequence[str], fingerprint: str, *, label: str = "") -> bool:
    """Whether the same job was finished in this folder before; then it is taken over, however it was asked for."""
    record = read_record(folder)
    if record is None or (record.status, record.fingerprint) != (FINISHED, fingerprint):
        return False
    if is_rank_zero():
        write_record(replace(record, overrides=tuple(map(without_credentials, overrides)), label=label), folder)
    return True


@contextlib.contextmanager
def recorded_job(folder: Path, overrides: Sequence[str], fingerprint: str, *, label: str = "") -> Iterator[None]:
    """Keep `job.json` true while a job runs."""
    if not is_rank_zero():
        yield
        return
    record = JobRecord(tuple(map(without_credentials, overrides)), fingerprint, RUNNING, label)
    write_record(record, folder)
    try:
        yield
    except KeyboardInterrupt:
        write_record(replace(record, status=KILLED, message="Stopped by hand.", ended=time.time()), folder)
        raise
    except Exception as error:
        message = explain(error) or f"{type(error).__name__}: {error}"
        with contextlib.suppress(OSError):  # what was raised may be that the disk is full
            write_record(replace(record, status=FAILED, message=message, ended=time.time()), folder)
        raise
    write_record(replace(record, status=FINISHED, ended=time.time()), folder)


NO_MATTER = frozenset(
    {
        *("device", "trainer", "workers", "jobs", "cache", "sweep", "resume", "run_folders", "model_timeout"),
        *("tracking", "tracking_uri"),
    }
)
"""Parts of the configuration that change neither scores nor metrics."""


def fingerprint(cfg: DictConfig) -> str:
    """Return a digest of a job's configuration and rows, a full stop, and a digest of the model's files and code.

    Files are known by size and time, as hashing gigabytes of weights would take as long as a small job. What is on
    the hub is known by its name.
    """
    telling = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key not in NO_MATTER])
    plain = OmegaConf.to_container(telling, resolve=True, enum_to_str=True)
    assert isinstance(plain, dict)
    rows = {file: _states(Path(file).expanduser()) for file in _row_files(plain["data"])}
    files = {name: _states(Path(name).expanduser()) for name in _texts(plain.get("model"))}
    code = code_identity_of(target_of(plain.get("model") or {}))
    return f"{content_key(config=plain, rows=rows)}.{content_key(files=files, code=code)}"


def _row_files(data: Mapping[str, Any]) -> list[str]:
    """Return the files that the rows of a run are from: the rows' file, and tables of the user's own."""
    tables = [data, *data["own"].values()]
    return [str(file) for file in (data["jsonl"], *(table["csv"] for table in tables)) if file]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _texts(one)


def _states(path: Path) -> list[tuple[str, int, int]]:
    """Return name, size and time (ns) of a file, or of the files in a folder; nothing for what is not there."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    states = ((file.name, file.stat()) for file in files if file.is_file())
    return [(name, state.st_size, state.st_mtime_ns) for name, state in states]


def run_job(cfg: DictConfig, folder: Path, task: Task) -> None:
    """Run a job of a sweep, unless it was finished when the sweep ran before.

    What it raises is printed and recorded, and goes no further, so that the other jobs are run.

    Args:
        cfg: The job's configuration.
        folder: The job's folder.
        task: What the job does.
    """
    # A process of joblib's that dies ends the sweep and all its other processes; a child of it does not.
    if not _is_joblib_process():
        _run_here(cfg, folder, task)
        return
    child = multiprocessing.Process(target=_run_here, args=(cfg, folder, task))
    child.start()
    child.join()
    if child.exitcode:
        print_error(f"The process of job {folder.name} died (exit code {child.exitcode}).")


@cache
def _is_joblib_process() -> bool:
    """Whether joblib started this process, which then may start others."""
    is_joblib = multiprocessing.get_start_method() == LOKY
    if is_joblib:  # made to start none but joblib's own kind, which nobody else can start
        multiprocessing.set_start_method(multiprocessing.get_all_start_methods()[0], force=True)
    return is_joblib


def _run_here(cfg: DictConfig, folder: Path, task: Task) -> None:
    key, overrides = fingerprint(cfg), HydraConfig.get().overrides.task
    place = sweep_place()
    label = place.label if place else ""
    job = f"Job {place.number}, {label}" if place else f"Job {folder.name}"
    if cfg.resume and was_finished(folder, overrides, key, label=label):
        log.info("%s: finished before (resume=false runs it again)", job)
        return
    log.info("%s", job)
    _drop_scores_of_other_files(folder, key)
    # Lightning's loops and the model refer to each other: without this, the models of earlier jobs stay in memory.
    gc.collect()
    try:
        with recorded_job(folder, overrides, key, label=label):
            task(cfg, folder)
    except Exception as error:
        print_error(error_message(error))


def _drop_scores_of_other_files(folder: Path, fingerprint: str) -> None:
    """Remove the scores in a job's own folder if the model's files were others: a model need not say what it is."""
    record = read_record(folder)
    if record is not None and record.fingerprint.partition(".")[2] != fingerprint.partition(".")[2] and is_rank_zero():
        shutil.rmtree(folder / "scores", ignore_errors=True)
