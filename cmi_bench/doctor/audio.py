"""Whether the audio is there and is what it should be."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from cmi_bench.data.manifest import AudioRecord, Manifest
from cmi_bench.data.prepare.space import in_words
from cmi_bench.data.prepare.work import Content
from cmi_bench.data.rows import Row
from cmi_bench.doctor.finding import Finding, Status, some_of
from cmi_bench.doctor.remedies import Remedies

AREA = "audio"
SHORTEST = 1025 / 24000
"""Seconds: CMI-RM cannot hear less (the mel spectrogram's first window)."""
SHORT = 1.0
"""Seconds under which a clip is not music that people judged."""
UPSTREAM = "It is so upstream: with on_error=record its clips count as failed"


@dataclass(frozen=True)
class AudioState:
    """What is known of the audio of the rows."""

    rows: Sequence[Row]
    paths: Sequence[str]
    """All that the rows name, each once."""
    manifest: Manifest
    """With every file that is there, heard."""
    upstream: dict[str, Content]
    """What task=prepare was promised, where it fetched something."""

    @property
    def records(self) -> list[AudioRecord]:
        """Of the files that are there."""
        return [self.manifest.records[path] for path in self.paths if path in self.manifest.records]

    def is_as_upstream(self, record: AudioRecord) -> bool:
        """Whether a file is, byte for byte, what upstream has."""
        content = self.upstream.get(record.path)
        return content is not None and content.digest.value == record.sha256

    def is_changed(self, record: AudioRecord) -> bool:
        """Whether a file is not what upstream has."""
        content = self.upstream.get(record.path)
        return content is not None and content.digest.algorithm == "sha256" and content.digest.value != record.sha256


class Flaw(NamedTuple):
    """One kind of damage to a file."""

    subject: str
    what: str
    """Said of several files."""
    has_it: Callable[[AudioRecord], bool]
    status: Status
    can_be_had_again: bool


FLAWS = (
    Flaw("decoding", "cannot be decoded", lambda one: one.error is not None, Status.PROBLEM, True),
    Flaw("length", "are cut off", lambda one: one.error is None and bool(one.is_cut), Status.PROBLEM, True),
    Flaw("samples", "hold samples that are no numbers", lambda one: one.has_bad_samples, Status.PROBLEM, True),
    Flaw("silence", "are silent", lambda one: one.is_silent, Status.WARNING, False),
    Flaw(
        "too short", f"are shorter than {SHORTEST:.3f} s", lambda one: _lasts(one, 0, SHORTEST), Status.PROBLEM, False
    ),
    Flaw("short", f"are shorter than {SHORT:g} s", lambda one: _lasts(one, SHORTEST, SHORT), Status.WARNING, False),
)


def check_audio(root: Path, state: AudioState, remedies: Remedies) -> Iterator[Finding]:
    """Judge the audio of the rows."""
    records = state.records
    missing = [path for path in state.paths if path not in state.manifest.records]
    if missing:
        found = f"{len(missing):,} of {len(state.paths):,} files are missing under {root}: {some_of(missing)}."
        yield Finding(AREA, "files", Status.PROBLEM, found, remedies.audio)
    else:
        hours = sum(record.heard_seconds or 0.0 for record in records) / 3600
        size = in_words(sum(record.bytes for record in records))
        yield Finding(AREA, "files", Status.OK, f"{len(records):,} files, {size}, {hours:,.1f} hours")
    changed = [record.path for record in records if state.is_changed(record)]
    if changed:
        found = f"{len(changed)} files are not what upstream has: {some_of(changed)}."
        yield Finding(AREA, "content", Status.PROBLEM, found, remedies.audio)
    for flaw in FLAWS:
        yield from _check_flaw(flaw, state, remedies)
    yield from _check_copies(state, remedies)


def _check_flaw(flaw: Flaw, state: AudioState, remedies: Remedies) -> Iterator[Finding]:
    have_it = [record for record in state.records if flaw.has_it(record)]
    for records, is_upstream in (
        ([one for one in have_it if not state.is_as_upstream(one)], False),
        ([one for one in have_it if state.is_as_upstream(one)], True),
    ):
        if not records:
            continue
        named = some_of([f"{one.path} ({one.error})" if one.error else one.path for one in records])
        mend = UPSTREAM if is_upstream else remedies.audio if flaw.can_be_had_again else "Listen to them; look upstream"
        status = Status.WARNING if is_upstream else flaw.status
        yield Finding(AREA, flaw.subject, status, f"{len(records)} files {flaw.what}: {named}.", mend)


def _check_copies(state: AudioState, remedies: Remedies) -> Iterator[Finding]:
    """Look for the same bytes under several names; worse where the two clips of a pair are the same."""
    by_content = defaultdict(list)
    for record in state.records:
        by_content[record.sha256].append(record.path)
    copies = [paths for paths in by_content.values() if len(paths) > 1]
    if copies:
        named = some_of([" = ".join(paths[:2]) for paths in copies])
        found = f"{len(copies)} files are there under several names: {named}."
        yield Finding(AREA, "copies", Status.WARNING, found, remedies.audio)
    content = {record.path: record.sha256 for record in state.records}
    twins = [
        str(row.index)
        for row in state.rows
        if row.audio_b not in (None, row.audio_a)
        and row.audio_a in content
        and content.get(row.audio_a) == content.get(row.audio_b or "")
    ]
    if twins:
        found = f"{len(twins)} rows compare a clip with its copy: line {some_of(twins)}."
        yield Finding(AREA, "pairs", Status.PROBLEM, found, remedies.audio)


def _lasts(record: AudioRecord, least: float, less_than: float) -> bool:
    return record.heard_seconds is not None and least <= record.heard_seconds < less_than
