"""What is recorded of the audio of a run. Nothing here imports torch."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cmi_bench.config import Config
from cmi_bench.data.manifest import Manifest, update_manifest
from cmi_bench.data.progress import FileCount
from cmi_bench.data.rows import Row
from cmi_bench.tracking.provenance import file_digest


def audio_facts(config: Config, rows: Iterable[Row]) -> dict[str, Any]:
    """Bring the manifest up to date for the rows' audio, and return what identifies that audio.

    Where nothing has changed since the last time, no audio file is opened. Otherwise each new file is read
    once for its digest and headers, which is little beside scoring it; nothing is decoded.
    """
    root, file = Path(config.data.root), Path(config.data.manifest)
    paths = dict.fromkeys(path for row in rows for path in row.audio_files)
    manifest = update_manifest(root, file, paths, progress=FileCount("looking at the audio"))
    return describe_audio(manifest, paths) | {
        "manifest": str(file),
        "manifest_sha256": file_digest(file) if file.is_file() else None,
    }


def describe_audio(manifest: Manifest, paths: Iterable[str]) -> dict[str, Any]:
    """Return number, size, digest and decoders of files; those that are missing are left out."""
    there = [path for path in paths if path in manifest.records]
    records = [manifest.records[path] for path in there]
    return {
        "audio_files": len(records),
        "audio_bytes": sum(record.bytes for record in records),
        "audio_sha256": manifest.audio_digest(there),
        "audio_decoders": dict(Counter(record.decoder or "none" for record in records)),
    }
