"""Digests and lengths of audio files, from the data root's manifest."""

from dataclasses import dataclass, field
from pathlib import Path

from cmi_bench.data.manifest import Manifest
from cmi_bench.inference.audio_index import FileIndex
from cmi_bench.inference.requests import AudioFacts


@dataclass(frozen=True)
class ManifestIndex:
    """Answers from the manifest; a file that it does not know as it is now is read."""

    root: Path
    """The data root, which the manifest's paths are relative to."""
    manifest: Manifest
    otherwise: FileIndex = field(default_factory=FileIndex)

    def facts(self, path: Path) -> AudioFacts:
        """Return a file's digest and length; see `requests.AudioIndex`."""
        record = None
        if path.is_relative_to(self.root):
            record = self.manifest.records.get(path.relative_to(self.root).as_posix())
        if record is None or not record.describes(path.stat()):
            return self.otherwise.facts(path)
        return AudioFacts(record.sha256, record.seconds)
