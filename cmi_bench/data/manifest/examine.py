"""Look at one audio file."""

import hashlib
from dataclasses import asdict
from pathlib import Path

from cmi_bench.audio.errors import AudioError
from cmi_bench.audio.listen import listen
from cmi_bench.audio.probe import probe
from cmi_bench.data.manifest.record import AudioRecord


def examine(root: Path, path: str, *, hear: bool) -> AudioRecord | None:
    """Return what a file of the data root is, None if there is no such file (any more).

    Args:
        root: The data root.
        path: The file, relative to it.
        hear: Decode all of it, which takes 10 to 100 times as long as reading its headers.
    """
    file = root / path
    try:
        stat = file.stat()
        with file.open("rb") as opened:
            sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError:
        return None
    record = AudioRecord(path, stat.st_size, stat.st_mtime_ns, sha256)
    facts = {}
    try:
        facts = asdict(probe(file))
        if hear:
            heard = listen(file)
            facts |= {"heard_seconds": heard.seconds, "peak": heard.peak}
    except AudioError as error:
        facts |= {"error": error.what.replace(f"{file}", path)}
    return AudioRecord(**asdict(record) | facts)
