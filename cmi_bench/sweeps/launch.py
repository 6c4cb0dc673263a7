"""Hand the jobs of a sweep to Hydra's launcher, so that one whose process dies does not end the others."""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from cmi_bench.sweeps.job_record import RUNNING, read_record

log = logging.getLogger(__name__)

Job = Sequence[str]
"""A job's overrides."""
Launch = Callable[[Sequence[Job], int], object]
"""Runs jobs in their order, and numbers them from the given number on."""


def launch_all(batches: Sequence[Sequence[Job]], launch: Launch, folder: Path) -> None:
    """Run all jobs.

    When a process dies, those beside it go with it. The jobs that had not begun are run all the same, and at the end
    each of those that were lost once more, alone: what the others' memory killed has a second chance so.

    Args:
        batches: Jobs by what is launched together.
        launch: The launcher's.
        folder: The sweep's folder.
    """
    first, lost = 0, list[int]()
    for batch in batches:
        lost += _launch(batch, first, launch, folder)
        first += len(batch)
    jobs = [job for batch in batches for job in batch]
    for number in lost:
        log.info("Job %d once more, alone", number)
        _launch([jobs[number]], number, launch, folder)


def _launch(batch: Sequence[Job], first: int, launch: Launch, folder: Path) -> list[int]:
    """Launch a batch, again without those that have begun as long as it breaks; return the jobs that were lost."""
    end, lost = first + len(batch), list[int]()
    while first < end:
        try:
            launch(batch[len(batch) - (end - first) :], first)
        except BrokenProcessPool as error:
            records = [read_record(folder / str(number)) for number in range(first, end)]
            mine = zip(range(first, end), records, batch[len(batch) - (end - first) :], strict=True)
            begun = {number: record for number, record, job in mine if record and record.overrides == tuple(job)}
            if not begun:
                raise
            lost += [number for number, record in begun.items() if record.status == RUNNING]
            first = max(begun) + 1
            log.warning("A process died (%s), and those beside it with it.", type(error).__name__)
            continue
        break
    return lost
