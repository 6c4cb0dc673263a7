"""Jobs of a sweep that cannot differ in scores, since their weights are the same: copies, or checkpoints of a part that
was not trained."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from cmi_bench.reporting.sweep_jobs import SweepJob, named
from cmi_bench.sweeps.jobs import CHECKPOINT, override_values
from cmi_bench.tracking.sweep_plan import PlannedJob
from cmi_bench.utils.files import file_digest, is_regular

MOST_BYTES = 256 * 2**20
"""Bytes of files of equal size that a plan reads to tell whether they are copies: about a second."""


def same_weights_notes(planned: Sequence[PlannedJob], jobs: Sequence[SweepJob]) -> list[str]:
    """Return a sentence for each group of finished jobs that differ in the checkpoint only, and have the same weights.

    Args:
        planned: The jobs of the plan.
        jobs: What became of them, in the same order.
    """
    groups: dict[object, list[SweepJob]] = {}
    for plan, job in zip(planned, jobs, strict=True):
        if job.weights and job.values:
            groups.setdefault((_but_checkpoint(plan.overrides), job.weights), []).append(job)
    return [_note(group) for group in groups.values() if len(group) > 1]


def _note(jobs: Sequence[SweepJob]) -> str:
    same = f"{named([job.label for job in jobs])} have the same weights"
    if all(job.values == jobs[0].values for job in jobs):
        return f"{same}: same scores."
    return f"{same}, and not the same scores: the model does not give the same clip the same score."


def same_files_notes(planned: Sequence[PlannedJob]) -> list[str]:
    """Return a sentence for each group of jobs whose checkpoints are the same files, or small copies of each other.

    It is for before the first job: no weights are loaded, and large files are not read.
    """
    groups: dict[object, list[PlannedJob]] = {}
    for job in planned:
        if (checkpoint := override_values(job.overrides).get(CHECKPOINT)) and (
            files := _files(Path(checkpoint).expanduser())
        ):
            sizes = tuple((name, file.stat().st_size) for name, file in files.items())
            groups.setdefault((_but_checkpoint(job.overrides), sizes), []).append(job)
    return [
        f"{named([job.label for job in same])} have the same files: they will have the same scores."
        for group in groups.values()
        for same in _copies(group)
    ]


def _copies(jobs: Sequence[PlannedJob]) -> list[list[PlannedJob]]:
    """Return those of jobs, whose files are of equal sizes, that have the same files."""
    if len(jobs) < 2:
        return []
    files_of = [_files(Path(override_values(job.overrides)[CHECKPOINT]).expanduser()) for job in jobs]
    is_small = sum(file.stat().st_size for files in files_of for file in files.values()) <= MOST_BYTES
    by_content: dict[object, list[PlannedJob]] = {}
    for job, files in zip(jobs, files_of, strict=True):
        content = tuple(file_digest(file) if is_small else _place(file) for file in files.values())
        by_content.setdefault(content, []).append(job)
    return [same for same in by_content.values() if len(same) > 1]


def _place(file: Path) -> tuple[int, int]:
    """What links to the same file have in common."""
    status = file.stat()
    return status.st_dev, status.st_ino


def _files(checkpoint: Path) -> Mapping[str, Path]:
    """Return a checkpoint's files by their place in its folder; none where it is not on this machine."""
    if is_regular(checkpoint):
        return {"": checkpoint}
    if not checkpoint.is_dir():
        return {}
    inside: Iterable[Path] = sorted(path for path in checkpoint.rglob("*") if is_regular(path))
    return {str(path.relative_to(checkpoint)): path for path in inside}


def _but_checkpoint(overrides: Sequence[str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((key, value) for key, value in override_values(overrides).items() if key != CHECKPOINT))
