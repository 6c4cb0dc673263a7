"""Whether there is room, and nothing half done."""

import os
from collections.abc import Iterator
from pathlib import Path

from cmi_bench.data.prepare.fetch import PARTIAL
from cmi_bench.data.prepare.space import RESERVE, free_bytes, in_words
from cmi_bench.doctor.finding import Finding, Status, some_of
from cmi_bench.doctor.remedies import Remedies

AREA = "disk"


def check_disk(root: Path, outputs: Path, remedies: Remedies) -> Iterator[Finding]:
    """Look at the data root, and at the folder that runs write to."""
    for name, folder in (("data root", root), ("outputs", outputs)):
        free = free_bytes(folder)
        there = next(one for one in (folder, *folder.absolute().parents) if one.exists())
        if not os.access(there, os.W_OK):
            is_needed = name == "outputs"
            status = Status.PROBLEM if is_needed else Status.WARNING
            yield Finding(AREA, name, status, f"{there} cannot be written to.", "Choose a folder of yours")
        elif free < RESERVE:
            yield Finding(AREA, name, Status.PROBLEM, f"{in_words(free)} free at {there}.", "Make room")
        else:
            yield Finding(AREA, name, Status.OK, f"{in_words(free)} free at {there}")
    yield from _leftovers(root, remedies)


def _leftovers(root: Path, remedies: Remedies) -> Iterator[Finding]:
    partial = sorted(path.relative_to(root).as_posix() for path in root.rglob(f"*{PARTIAL}"))
    if partial:
        found = f"{len(partial)} downloads were interrupted: {some_of(partial)}."
        yield Finding(AREA, "downloads", Status.WARNING, found, remedies.prepare)
