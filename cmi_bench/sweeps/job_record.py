"""What a job of a sweep writes down of itself: `job.json` in its folder."""

import contextlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from cmi_bench.explain import explain
from cmi_bench.ranks import is_rank_zero
from cmi_bench.reporting.atomic import write_text_atomic

JOB_FILE = "job.json"
RUNNING, FINISHED, FAILED, KILLED = "running", "finished", "failed", "killed"


@dataclass(frozen=True)
class JobRecord:
    """How far a job is."""

    overrides: tuple[str, ...]
    """What Hydra was told; another sweep may have used the folder before."""
    fingerprint: str
    """What the job is; see `fingerprint.fingerprint`."""
    status: str
    """"running", "finished", "failed" or "killed"; "running" stays behind when the process dies."""
    message: str = ""
    """Why it failed."""
    ended: float | None = None
    """Seconds since 1970."""


def read_record(folder: Path) -> JobRecord | None:
    """Return what a job wrote; None if it never started, or its file cannot be read."""
    try:
        found = json.loads((folder / JOB_FILE).read_text(encoding="utf-8"))
        return JobRecord(**found | {"overrides": tuple(found["overrides"])})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def was_finished(folder: Path, overrides: Sequence[str], fingerprint: str) -> bool:
    """Whether the same job was finished in this folder before; then it is taken over, however it was asked for."""
    record = read_record(folder)
    if record is None or (record.status, record.fingerprint) != (FINISHED, fingerprint):
        return False
    if is_rank_zero():
        _write(replace(record, overrides=tuple(overrides)), folder)
    return True


@contextlib.contextmanager
def recorded_job(folder: Path, overrides: Sequence[str], fingerprint: str) -> Iterator[None]:
    """Keep `job.json` true while a job runs."""
    if not is_rank_zero():
        yield
        return
    record = JobRecord(tuple(overrides), fingerprint, RUNNING)
    _write(record, folder)
    try:
        yield
    except KeyboardInterrupt:
        _write(replace(record, status=KILLED, message="Stopped by hand.", ended=time.time()), folder)
        raise
    except Exception as error:
        message = explain(error) or f"{type(error).__name__}: {error}"
        _write(replace(record, status=FAILED, message=message, ended=time.time()), folder)
        raise
    _write(replace(record, status=FINISHED, ended=time.time()), folder)


def _write(record: JobRecord, folder: Path) -> None:
    write_text_atomic(folder / JOB_FILE, json.dumps(asdict(record), indent=2, ensure_ascii=False) + "\n")
