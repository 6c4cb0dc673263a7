"""A folder for what a process needs only while it runs; what a killed process left there goes with the next one."""

import contextlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout


@contextlib.contextmanager
def workspace() -> Iterator[Path]:
    """Make a folder below the system's folder for temporary files (`TMPDIR`), and remove it in the end.

    Each has a lock that the system releases when its process ends, however it ends: folders whose locks are free are
    removed first.

    Raises:
        OSError: There is no room, or no such folder.
    """
    above = Path(tempfile.gettempdir()) / f"cmi-bench-{os.getuid()}"
    above.mkdir(mode=0o700, exist_ok=True)
    if above.stat().st_uid != os.getuid():  # of somebody who took the name
        above = Path(tempfile.mkdtemp(prefix="cmi-bench-"))
    for left in above.glob("*.lock"):
        _remove_if_free(left)
    folder = above / uuid.uuid4().hex
    with FileLock(folder.with_suffix(".lock")):
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            folder.with_suffix(".lock").unlink(missing_ok=True)


def _remove_if_free(lock: Path) -> None:
    with contextlib.suppress(Timeout, OSError), FileLock(lock, timeout=0):
        shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
        lock.unlink(missing_ok=True)
