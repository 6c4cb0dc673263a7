"""How long clips are, in seconds: from a file of durations, or from the audio files' headers."""

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from cmi_bench.data import fields
from cmi_bench.errors import UserError

logger = logging.getLogger(__name__)


class Durations(Protocol):
    """Anything that knows how long clips are."""

    def seconds(self, audio: str) -> float | None:
        """Return the length of the clip that a row names, None where it is not known."""
        ...


@dataclass(frozen=True)
class DurationTable:
    """Durations by audio path, as in the public `audio_duration_map.json`."""

    by_path: Mapping[str, float]

    def seconds(self, audio: str) -> float | None:
        """Look a clip up by its path, by its path with forward slashes, or at last by its file name."""
        slashed = audio.replace("\\", "/")
        keys = (audio, slashed, PurePosixPath(slashed).name)
        return next((self.by_path[key] for key in keys if key in self.by_path), None)


@dataclass
class AudioHeaders:
    """Durations read from the audio files themselves, each file once."""

    root: Path
    """What the rows' paths are relative to."""
    _known: dict[str, float | None] = field(default_factory=dict, repr=False)

    def seconds(self, audio: str) -> float | None:
        """Return the length that the file's headers give; None where the file is missing or unreadable."""
        if audio not in self._known:
            self._known[audio] = self._read(audio)
        return self._known[audio]

    def _read(self, audio: str) -> float | None:
        # Only this way of knowing durations needs libsndfile.
        from cmi_bench.audio.errors import AudioError
        from cmi_bench.audio.probe import probe

        try:
            return probe(self.root / audio).seconds
        except AudioError as error:
            # A clip of unknown length is left out of one grouping; the evaluation counts such rows in its notes.
            logger.debug("%s: length unknown: %s", audio, error)
            return None


def read_durations(path: Path) -> DurationTable:
    """Read a JSON file of seconds by audio path.

    Raises:
        UserError: Missing, not a JSON object, or a value that is not a number of seconds.
    """
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist.", "Check metrics.durations.") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(table, dict):
        raise UserError(
            f"{path} is a JSON {type(table).__name__}, not an object.", 'Write {"audio path": seconds, ...}.'
        )
    return DurationTable({audio: _checked(value, audio, path) for audio, value in table.items()})


def row_seconds(raw: Mapping[str, Any], durations: Durations) -> float | None:
    """Return a row's duration: the mean of its clips', of those that are known; None if none is."""
    named = [str(raw.get(name) or "").strip() for name in (fields.AUDIO_A, fields.AUDIO_B)]
    known = [length for audio in named if audio and (length := durations.seconds(audio)) is not None]
    return sum(known) / len(known) if known else None


def _checked(value: Any, audio: str, path: Path) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise UserError(f"{path}: {audio!r} is {value!r}, not a number of seconds.")
    return float(value)
