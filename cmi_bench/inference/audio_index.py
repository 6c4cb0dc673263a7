"""Digests and lengths of audio files, read from the files themselves."""

import hashlib
from pathlib import Path

import soundfile

from cmi_bench.inference.requests import AudioFacts


class FileIndex:
    """Reads each file once per run."""

    def __init__(self) -> None:
        self._known: dict[Path, AudioFacts] = {}

    def facts(self, path: Path) -> AudioFacts:
        """Return a file's digest and length; see `requests.AudioIndex`."""
        if path not in self._known:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            self._known[path] = AudioFacts(digest, seconds_of(path))
        return self._known[path]


def seconds_of(path: Path) -> float | None:
    """Return the length that a file's header says; None where it cannot be read."""
    try:
        return float(soundfile.info(path).duration)
    except soundfile.LibsndfileError:
        # Only a plan's balance depends on it; whether the file can be decoded is found out when it is.
        return None
