"""Keep the manifest true: look at the files that are new or changed, and only at those."""

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from filelock import FileLock

from cmi_bench.data.manifest.examine import examine
from cmi_bench.data.manifest.record import AudioRecord
from cmi_bench.data.manifest.table import Manifest, read_manifest, write_manifest

log = logging.getLogger(__name__)

Progress = Callable[[Iterable[AudioRecord], int], Iterable[AudioRecord]]
"""Passes on the records of so many files as they come, and shows how many there were."""


def update_manifest(
    root: Path,
    file: Path,
    paths: Iterable[str],
    *,
    hear: bool = False,
    workers: int | None = None,
    progress: Progress = lambda records, _total: records,
) -> Manifest:
    """Return a manifest that is true for the files named, and keep it for the next time.

    A file whose size and time are those of its record is not opened. What was found out is kept even if the
    work is stopped half way. Records of other files stay; those of files that are gone go.

    Args:
        root: The data root.
        file: The manifest's file; where it cannot be written, what was found is returned all the same.
        paths: Audio files, relative to the root; those that do not exist are passed over.
        hear: Decode the files as well (once): without it, only headers and digests are looked at.
        workers: Files looked at in parallel; None: as many as there are cores.
        progress: Wraps the records as they come.
    """
    known = read_manifest(file).records
    stale = [path for path in dict.fromkeys(paths) if _is_stale(root, path, known.get(path), hear=hear)]
    if not stale:
        return Manifest(known)
    found: dict[str, AudioRecord] = {}
    try:
        for record in progress(_examine_all(root, stale, hear=hear, workers=workers), len(stale)):
            found[record.path] = record
    finally:
        known = _keep(root, file, found)
    return Manifest(known)


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _is_stale(root: Path, path: str, record: AudioRecord | None, *, hear: bool) -> bool:
    try:
        stat = (root / path).stat()
    except OSError:
        return False
    return record is None or not record.describes(stat) or (hear and not record.was_heard)


def _examine_all(root: Path, paths: list[str], *, hear: bool, workers: int | None) -> Iterator[AudioRecord]:
    # Threads: digests, headers and samples are the business of C code, which runs outside the interpreter's lock.
    with ThreadPoolExecutor(workers or cores()) as pool:
        jobs = [pool.submit(examine, root, path, hear=hear) for path in paths]
        try:
            for job in as_completed(jobs):
                record = job.result()
                if record is not None:
                    yield record
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _keep(root: Path, file: Path, found: Mapping[str, AudioRecord]) -> Mapping[str, AudioRecord]:
    """Write what was found beside what is known by now (another run may have added to it), and return both."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(file.with_name(f".{file.name}.lock")):
            known = {path: record for path, record in read_manifest(file).records.items() if (root / path).is_file()}
            write_manifest(file, Manifest(known | dict(found)))
    except OSError as error:
        known = dict(read_manifest(file).records)
        log.warning("The manifest %s cannot be kept (%s); the next run looks at the audio again.", file, error.strerror)
    return known | dict(found)
