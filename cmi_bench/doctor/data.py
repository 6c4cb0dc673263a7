"""Checks of what a run reads: rows, audio and the model's checkpoint."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from rich.filesize import decimal

from cmi_bench.config import Config
from cmi_bench.data import fields
from cmi_bench.data.audio_table import AudioRecord
from cmi_bench.data.datasets import Dataset, PairTask, dataset_of_source
from cmi_bench.data.fields import is_missing
from cmi_bench.data.manifest import Manifest
from cmi_bench.data.rows import Line, Row, parse_object, read_lines, to_row
from cmi_bench.doctor.finding import Finding, Remedies, Severity
from cmi_bench.download.model_files import in_cache, missing_files, tensor_shapes
from cmi_bench.download.state import Content
from cmi_bench.errors import UserError
from cmi_bench.evaluation.collapse import FEWEST
from cmi_bench.models.base import BenchmarkModelABC
from cmi_bench.models.hub import WEIGHTS, is_hub_id
from cmi_bench.types import Clip
from cmi_bench.utils.console import some_of
from cmi_bench.utils.files import is_regular

AUDIO_AREA = "audio"
SHORTEST = 1025 / 24000
"""Seconds: CMI-RM cannot take less (the mel spectrogram's first window)."""
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
    """With every file that is there, decoded."""
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
    status: Severity
    can_be_had_again: bool


FLAWS = (
    Flaw("decoding", "cannot be decoded", lambda one: one.error is not None, Severity.PROBLEM, True),
    Flaw("length", "are cut off", lambda one: one.error is None and bool(one.is_cut), Severity.PROBLEM, True),
    Flaw("samples", "hold samples that are no numbers", lambda one: one.has_bad_samples, Severity.PROBLEM, True),
    Flaw("silence", "are silent", lambda one: one.is_silent, Severity.WARNING, False),
    Flaw(
        "too short", f"are shorter than {SHORTEST:.3f} s", lambda one: _lasts(one, 0, SHORTEST), Severity.PROBLEM, False
    ),
    Flaw("short", f"are shorter than {SHORT:g} s", lambda one: _lasts(one, SHORTEST, SHORT), Severity.WARNING, False),
)


def check_audio(root: Path, state: AudioState, remedies: Remedies) -> Iterator[Finding]:
    """Judge the audio of the rows."""
    records = state.records
    missing = [path for path in state.paths if path not in state.manifest.records]
    if missing:
        found = f"{len(missing):,} of {len(state.paths):,} files are missing under {root}: {some_of(missing)}."
        yield Finding(AUDIO_AREA, "files", Severity.PROBLEM, found, remedies.audio)
    else:
        hours = sum(record.decoded_seconds or 0.0 for record in records) / 3600
        size = decimal(sum(record.bytes for record in records))
        yield Finding(AUDIO_AREA, "files", Severity.OK, f"{len(records):,} files, {size}, {hours:,.1f} hours")
    changed = [record.path for record in records if state.is_changed(record)]
    if changed:
        found = f"{len(changed)} files are not what upstream has: {some_of(changed)}."
        yield Finding(AUDIO_AREA, "content", Severity.PROBLEM, found, remedies.audio)
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
        fix = UPSTREAM if is_upstream else remedies.audio if flaw.can_be_had_again else "Listen to them; look upstream"
        status = Severity.WARNING if is_upstream else flaw.status
        yield Finding(AUDIO_AREA, flaw.subject, status, f"{len(records)} files {flaw.what}: {named}.", fix)


def _check_copies(state: AudioState, remedies: Remedies) -> Iterator[Finding]:
    """Look for the same bytes under several names; worse where the two clips of a pair are the same."""
    by_content = defaultdict(list)
    for record in state.records:
        by_content[record.sha256].append(record.path)
    copies = [paths for paths in by_content.values() if len(paths) > 1]
    if copies:
        named = some_of([" = ".join(paths[:2]) for paths in copies])
        found = f"{len(copies)} files are there under several names: {named}."
        yield Finding(AUDIO_AREA, "copies", Severity.WARNING, found, remedies.audio)
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
        yield Finding(AUDIO_AREA, "pairs", Severity.PROBLEM, found, remedies.audio)


def _lasts(record: AudioRecord, least: float, less_than: float) -> bool:
    return record.decoded_seconds is not None and least <= record.decoded_seconds < less_than


ROWS_AREA = "rows"
CONFIDENCES = {str(half / 2) for half in range(2, 11)} | {str(whole) for whole in range(1, 6)}


@dataclass
class ExaminedRows:
    """The rows of a file, good and bad."""

    rows: list[Row] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    """Why a line cannot be used, each with its number."""
    unknown: Counter[str] = field(default_factory=Counter)
    """Rows by a `source` that belongs to no dataset."""
    same_as_before: list[int] = field(default_factory=list)
    """Lines that say the same as an earlier one."""


def examine_rows(file: Path, *, split: str, datasets: tuple[Dataset, ...]) -> ExaminedRows:
    """Read as much of a rows' file as can be read.

    Raises:
        UserError: There is no such file, or it is no text.
    """
    examined = ExaminedRows()
    seen: set[str] = set()
    for number, text in read_lines(file):
        try:
            _take(Line(number, parse_object(text, f"line {number}")), examined, split=split, datasets=datasets)
        except UserError as error:
            examined.errors.append(error.what)
        if text in seen:
            examined.same_as_before.append(number)
        seen.add(text)
    return examined


def _take(line: Line, examined: ExaminedRows, *, split: str, datasets: tuple[Dataset, ...]) -> None:
    if line.value.get(fields.SPLIT) != split:
        return
    source = str(line.value.get(fields.SOURCE))
    dataset = dataset_of_source(source)
    if dataset is None:
        examined.unknown[source] += 1
    elif dataset in datasets:
        examined.rows.append(to_row(line, dataset, f"line {line.number}"))


def check_rows(
    examined: ExaminedRows,
    datasets: tuple[Dataset, ...],
    expected: Mapping[str, int | None],
    *,
    may_read: Callable[[str], bool],
    fix: str,
) -> Iterator[Finding]:
    """Judge the rows.

    Args:
        examined: The rows.
        datasets: Those that were asked for.
        expected: How many rows each dataset has in the whole benchmark, by slug; None where nobody knows.
        may_read: Whether a run reads the audio of a path; see `data.rows.leads_outside`.
        fix: The command that gets the file again.
    """
    counts = Counter(row.dataset.slug for row in examined.rows)
    for dataset in datasets:
        there, wanted = counts[dataset.slug], expected.get(dataset.slug)
        right = there > 0 and wanted in (None, there)
        found = f"{there:,} rows" if right else f"{there:,} rows instead of {wanted or 'some'}."
        yield Finding(ROWS_AREA, dataset.name, Severity.OK if right else Severity.PROBLEM, found, "" if right else fix)
    if examined.errors:
        found = f"{len(examined.errors)} lines cannot be used: {some_of(examined.errors)}"
        yield Finding(ROWS_AREA, "lines", Severity.PROBLEM, found, fix)
    if examined.unknown:
        found = f"{examined.unknown.total()} rows are of no dataset: source {some_of(sorted(examined.unknown))}."
        yield Finding(
            ROWS_AREA, "sources", Severity.WARNING, found, "They are left out; fix their `source`, or leave them so"
        )
    if examined.same_as_before:
        found = f"Lines that say the same as an earlier one: {some_of([str(one) for one in examined.same_as_before])}."
        yield Finding(ROWS_AREA, "duplicates", Severity.WARNING, found, fix)
    yield from _check_labels(examined.rows, fix)
    yield from _check_paths(examined.rows, may_read, fix)


def _check_labels(rows: list[Row], fix: str) -> Iterator[Finding]:
    bare = [row for row in rows if all(is_missing(row.raw.get(task.label_field)) for task in row.dataset.tasks)]
    if bare:
        found = f"{len(bare)} rows have no label and are not evaluated: line {some_of(_lines(bare))}."
        yield Finding(ROWS_AREA, "labels", Severity.WARNING, found, fix)
    odd = [row for row in rows if any(not _is_confidence(row, task) for task in row.dataset.tasks)]
    if odd:
        found = f"{len(odd)} rows have a confidence that is none of 1, 1.5, ... 5: line {some_of(_lines(odd))}."
        yield Finding(ROWS_AREA, "confidences", Severity.WARNING, found, fix)


def _is_confidence(row: Row, task: object) -> bool:
    if not isinstance(task, PairTask) or task.confidence_field is None:
        return True
    value = row.raw.get(task.confidence_field)
    return is_missing(value) or str(value).strip() in CONFIDENCES


def _check_paths(rows: list[Row], may_read: Callable[[str], bool], fix: str) -> Iterator[Finding]:
    outside = [row for row in rows if not all(map(may_read, row.audio_files))]
    if outside:
        found = f"{len(outside)} rows name audio outside of the data root: line {some_of(_lines(outside))}."
        yield Finding(ROWS_AREA, "paths", Severity.PROBLEM, found, fix)
    twins = [row for row in rows if row.audio_b is not None and row.audio_a == row.audio_b]
    if twins:
        found = f"{len(twins)} rows compare a clip with itself: line {some_of(_lines(twins))}."
        yield Finding(ROWS_AREA, "pairs", Severity.WARNING, found, fix)


def _lines(rows: list[Row]) -> list[str]:
    return [str(row.index) for row in rows]


MODEL_AREA = "model"


def check_checkpoint(config: Config, remedies: Remedies, clips: Sequence[Clip] = ()) -> Iterator[Finding]:
    """Look at the model's files, build it, which accounts for every tensor, and see whether it tells clips apart.

    Args:
        config: The configuration.
        remedies: Commands that fix things.
        clips: Some of different audio; fewer than three show nothing.
    """
    weights = _weights(config)
    if weights is not None:
        finding = _check_weights(weights, config, remedies)
        yield finding
        if finding.status is not Severity.OK:
            return
    try:
        missing = [f"{one.repo}/{one.names[0]}" for one in missing_files(config.model)]
    except UserError as error:
        yield Finding(MODEL_AREA, "files", Severity.PROBLEM, error.what, remedies.prepare)
        return
    if missing:
        yield Finding(
            MODEL_AREA, "files", Severity.PROBLEM, f"Not on this machine: {some_of(missing)}.", remedies.prepare
        )
        return
    yield from _build(config, clips)


def _weights(config: Config) -> Path | None:
    """Return the checkpoint's own file, None where the model has none that is known here."""
    checkpoint = config.model.get("checkpoint")
    if not checkpoint:
        return None
    path = Path(str(checkpoint)).expanduser()
    if path.is_dir():
        there = (path / name for name in (WEIGHTS, f"ckpt/{WEIGHTS}") if (path / name).is_file())
        return next(there, None)
    found = path if path.is_file() else in_cache(str(checkpoint), WEIGHTS) if is_hub_id(str(checkpoint)) else None
    return found if found is not None and found.suffix == ".safetensors" else None


def _check_weights(weights: Path, config: Config, remedies: Remedies) -> Finding:
    try:
        tensors = tensor_shapes(weights)
    except UserError as error:
        fix = error.hint if Path(str(config.model["checkpoint"])).expanduser().exists() else remedies.prepare
        return Finding(MODEL_AREA, "weights", Severity.PROBLEM, error.what, fix)
    size = decimal(weights.stat().st_size)
    return Finding(MODEL_AREA, "weights", Severity.OK, f"{len(tensors)} tensors, {size}, in {weights}")


def _build(config: Config, clips: Sequence[Clip]) -> Iterator[Finding]:
    from cmi_bench.models.registry import build_model

    try:
        model = build_model(config.model, device="cpu", precision=config.precision.value)
    except UserError as error:
        yield Finding(MODEL_AREA, "building it", Severity.PROBLEM, error.what, error.hint)
        return
    except Exception as error:  # whatever a user's own class raises is what they have to know
        yield Finding(
            MODEL_AREA, "building it", Severity.PROBLEM, f"{type(error).__name__}: {error}", "Fix the model's class"
        )
        return
    of_it = f", sha256 {model.digest}" if model.digest else ""
    yield Finding(MODEL_AREA, "building it", Severity.OK, f"{model.class_name}, {model.sr} Hz{of_it}")
    if len(clips) >= FEWEST and not model.is_remote and not model.needs_labels:
        yield _check_collapse(model, clips, config)


COLLAPSE_CLIPS, COLLAPSE_SECONDS = 5, 10.0
"""Enough to see a model that gives every song the same, within a minute on a CPU."""


def some_clips(rows: Sequence[Row], root: Path) -> list[Clip]:
    """Return a few clips of different files that are there, from all over the rows."""
    there = {row.audio_a: row for row in rows if is_regular(root / row.audio_a)}
    chosen = list(there.values())[:: max(1, len(there) // COLLAPSE_CLIPS)][:COLLAPSE_CLIPS]
    return [Clip(f"{row.index}:a", root / row.audio_a, row.prompt, row.lyrics) for row in chosen]


def _check_collapse(model: BenchmarkModelABC, clips: Sequence[Clip], config: Config) -> Finding:
    from cmi_bench.scoring.collapse import check_model_collapse

    subject = "telling songs apart"
    try:
        found = check_model_collapse(
            model,
            clips,
            max_dur=min(config.max_dur, COLLAPSE_SECONDS),
            score_kwargs=config.model.get("score_kwargs"),
        )
    except Exception as error:  # whatever a user's own class raises is what they have to know
        what = error.what if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        return Finding(MODEL_AREA, subject, Severity.WARNING, f"{len(clips)} clips could not be scored: {what}")
    if found.signs:
        fix = "Are these the trained weights? The model's page in docs/models/ says which to use."
        return Finding(MODEL_AREA, subject, Severity.WARNING, f"It cannot: {'; '.join(found.signs)}.", fix)
    return Finding(MODEL_AREA, subject, Severity.OK, f"{'; '.join(found.measured)}.")
