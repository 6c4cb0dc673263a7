"""How long clips are, by the manifest."""

from dataclasses import dataclass, field
from pathlib import Path

from cmi_bench.data.manifest.table import Manifest
from cmi_bench.evaluation.durations import AudioHeaders, Durations


@dataclass
class ManifestDurations:
    """Durations from the manifest; a file that it does not know as it is now is asked itself."""

    root: Path
    """What the rows' paths are relative to."""
    manifest: Manifest
    otherwise: Durations = field(init=False)

    def __post_init__(self) -> None:
        self.otherwise = AudioHeaders(self.root)

    def seconds(self, audio: str) -> float | None:
        """Return the length of a clip; None where neither knows it."""
        record = self.manifest.records.get(audio)
        if record is None or record.seconds is None:
            return self.otherwise.seconds(audio)
        try:
            is_the_same = record.describes((self.root / audio).stat())
        except OSError:  # results can be evaluated where the audio no longer is
            is_the_same = True
        return record.seconds if is_the_same else self.otherwise.seconds(audio)
