"""Lengths and digests of audio files: from a file of durations, from the manifest, or from the files themselves.

There is one length of an audio file, that of `audio.probe`: what its headers say, put right where its frames say
otherwise.
"""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, Protocol

from cmi_bench.data import fields
from cmi_bench.data.fields import shown
from cmi_bench.data.manifest import Manifest
from cmi_bench.data.rows import leads_outside
from cmi_bench.errors import UserError
from cmi_bench.utils.documents import parse_json
from cmi_bench.utils.files import file_digest, open_regular

logger = logging.getLogger(__name__)


class FileFacts(NamedTuple):
    """What a plan must know of an audio file."""

    digest: str
    """SHA-256 of its bytes."""
    seconds: float | None
    """Length; None where the header does not say."""


class AudioIndex(Protocol):
    """Knows audio files."""

    def facts(self, path: Path) -> FileFacts:
        """Return a file's facts.

        Raises:
            OSError: The file is missing or cannot be read.
        """


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


MOST_KNOWN = 100_000
"""Lengths that are kept: rows name the same clips again soon, or never."""


@dataclass
class AudioHeaders:
    """Durations read from the audio files themselves, each file once where there are no more than `MOST_KNOWN`."""

    root: Path
    """What the rows' paths are relative to."""
    allow_outside: bool = False
    """Whether a row may name a file outside of `root`; its length is not known if not."""
    _known: dict[str, float | None] = field(default_factory=dict, repr=False)

    def seconds(self, audio: str) -> float | None:
        """Return the length that the file's headers give; None where the file is missing or unreadable."""
        if audio not in self._known:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            is_allowed = self.allow_outside or not leads_outside(self.root, audio)
            self._known[audio] = read_seconds(self.root / audio) if is_allowed else None
        return self._known[audio]


_DURATIONS = 'Write {"audio path": seconds, ...}.'


def read_durations(path: Path) -> DurationTable:
    """Read a JSON file of seconds by audio path.

    Raises:
        UserError: Missing, not a JSON object, or a value that is not a number of seconds.
    """
    try:
        with open_regular(path) as file:
            table = parse_json(file.read().decode("utf-8-sig"), str(path), hint=_DURATIONS)
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist.", "Check metrics.durations.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as JSON: {error}", "Check metrics.durations.") from error
    if not isinstance(table, dict):
        raise UserError(f"{path} is a JSON {type(table).__name__}, not an object.", _DURATIONS)
    return DurationTable({audio: _checked(value, audio, path) for audio, value in table.items()})


def row_seconds(raw: Mapping[str, Any], durations: Durations) -> float | None:
    """Return a row's duration: the mean of its clips', of those that are known; None if none is."""
    if isinstance(durations, DurationsBySource):
        durations = durations.by_source.get(str(raw.get(fields.SOURCE)), durations.otherwise)
    named = [str(raw.get(name) or "").strip() for name in (fields.AUDIO_A, fields.AUDIO_B)]
    known = [length for audio in named if audio and (length := durations.seconds(audio)) is not None]
    return sum(known) / len(known) if known else None


def _checked(value: Any, audio: str, path: Path) -> float:
    try:
        seconds = math.nan if isinstance(value, bool | str) else float(value)
    except (TypeError, OverflowError):
        seconds = math.nan
    if not math.isfinite(seconds) or seconds < 0:
        raise UserError(f"{path}: {audio!r} is {shown(value)}, not a number of seconds.", "Write seconds of 0 or more.")
    return seconds


@dataclass
class ManifestDurations:
    """Durations from the manifest; a file that it does not know as it is now is asked itself."""

    root: Path
    """What the rows' paths are relative to."""
    manifest: Manifest
    allow_outside: bool = False
    """Whether a row may name a file outside of `root`."""
    otherwise: Durations = field(init=False)

    def __post_init__(self) -> None:
        self.otherwise = AudioHeaders(self.root, self.allow_outside)

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


@dataclass(frozen=True)
class DurationsBySource:
    """Durations where the rows of some sources have a root of their own, as tables of the user's have."""

    otherwise: Durations
    by_source: Mapping[str, Durations]

    def seconds(self, audio: str) -> float | None:
        """Return the length of a clip of the other sources."""
        return self.otherwise.seconds(audio)


FILES_REMEMBERED = 1 << 16
"""Of a million different files, no more are kept in memory."""


class FileIndex:
    """Reads each file once among many."""

    def __init__(self) -> None:
        self._known: dict[Path, FileFacts] = {}

    def facts(self, path: Path) -> FileFacts:
        """Return a file's digest and length; see `AudioIndex`."""
        if path not in self._known:
            facts = read_facts(path)
            if len(self._known) == FILES_REMEMBERED:
                self._known.clear()
            self._known[path] = facts
        return self._known[path]


def read_facts(path: Path) -> FileFacts:
    """Read a file's digest and length.

    Raises:
        OSError: The file is missing or cannot be read.
    """
    return FileFacts(file_digest(path), read_seconds(path))


def read_seconds(path: Path) -> float | None:
    """Return the length of an audio file; None where it is missing or of no known format."""
    # Only those who have no other source of lengths need libsndfile.
    from cmi_bench.audio.probe import probe
    from cmi_bench.audio.readers import AudioError

    try:
        return probe(path).seconds
    except AudioError as error:
        # A clip of unknown length is left out of one grouping, or balances a plan less well; that it cannot be
        # decoded shows when it is.
        logger.debug("%s: length unknown: %s", path, error)
        return None


@dataclass(frozen=True)
class ManifestIndex:
    """Answers from the manifest; a file that it does not know as it is now is read."""

    root: Path
    """The data root, which the manifest's paths are relative to; those of files elsewhere are absolute."""
    manifest: Manifest
    otherwise: FileIndex = field(default_factory=FileIndex)

    def facts(self, path: Path) -> FileFacts:
        """Return a file's digest and length; see `AudioIndex`."""
        name = path.as_posix().removeprefix(f"{self.root.as_posix().rstrip('/')}/")
        record = self.manifest.records.get(name)
        if record is None or not record.describes(path.stat()):
            return self.otherwise.facts(path)
        return FileFacts(record.sha256, record.seconds)
