"""`job.json` in a job's folder: how far a job of a sweep is."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from cmi_bench.utils.files import json_text, write_text_atomic

JOB_FILE = "job.json"
RUNNING, FINISHED, FAILED, KILLED, NOT_RUN = "running", "finished", "failed", "killed", "not run"


@dataclass(frozen=True)
class JobRecord:
    """How far a job is."""

    overrides: tuple[str, ...]
    """What Hydra was told; another sweep may have used the folder before."""
    fingerprint: str
    """What the job is; see `fingerprint`."""
    status: str
    """"running", "finished", "failed" or "killed"; "running" stays behind when the process dies."""
    label: str
    """What it is called in its sweep."""
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


def write_record(record: JobRecord, folder: Path) -> None:
    """Write how far a job is into its folder."""
    write_text_atomic(folder / JOB_FILE, json_text(asdict(record)))
