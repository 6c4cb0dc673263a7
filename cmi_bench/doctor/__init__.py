"""`task=doctor`: whether a run would work, and what to do if not.

`examine` makes all checks, in the order in which a run would need what they look at. Each check is a function that
yields findings.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from cmi_bench.config import Config
from cmi_bench.data.chosen import chosen_datasets, chosen_tables
from cmi_bench.data.datasets import Dataset
from cmi_bench.data.manifest import update_manifest
from cmi_bench.data.rows import Row, leads_outside
from cmi_bench.doctor.data import AudioState, check_audio, check_checkpoint, check_rows, examine_rows, some_clips
from cmi_bench.doctor.environment import check_disk, check_environment, check_login, check_tracking
from cmi_bench.doctor.finding import Finding, Remedies, Severity
from cmi_bench.download.state import FOLDER, Content, read_record
from cmi_bench.errors import UserError
from cmi_bench.utils.console import ItemCount, some_of
from cmi_bench.utils.files import is_regular


def examine(config: Config, outputs: Path, words: Sequence[str]) -> list[Finding]:
    """Look at everything that a run with this configuration needs.

    Args:
        config: The configuration.
        outputs: Where runs write.
        words: The overrides on the command line, for the commands that fix things.
    """
    root = Path(config.data.root)
    remedies = Remedies(words, root, config.data.synthesise, is_own=config.data.jsonl is None)
    rows = _find_rows(config, remedies)
    data = list(_check_data(config, root, rows, remedies))
    model = list(check_checkpoint(config, remedies, some_clips(rows.rows, root)))
    is_incomplete = any(
        finding.status is Severity.PROBLEM and finding.fix == remedies.prepare for finding in data + model
    )
    return [
        *check_environment(config),
        *check_login(is_needed=is_incomplete),
        *check_disk(root, outputs, remedies),
        *data,
        *model,
        *check_tracking(config),
    ]


class _FoundRows(NamedTuple):
    """The rows that a run would be over, as far as they can be read."""

    findings: list[Finding]
    rows: list[Row]
    """Only with audio that a run reads."""


def _find_rows(config: Config, remedies: Remedies) -> _FoundRows:
    """Look at the rows' file and at tables of the user's own."""
    found = _rows_of_file(config, remedies) if config.data.jsonl else _FoundRows([], [])
    own = _rows_of_tables(config)
    return _FoundRows([*found.findings, *own.findings], [*found.rows, *own.rows])


def _rows_of_file(config: Config, remedies: Remedies) -> _FoundRows:
    file, datasets = Path(str(config.data.jsonl)), tuple(chosen_datasets(config))
    if not datasets:
        return _FoundRows([], [])
    if not file.exists():
        return _FoundRows([Finding("rows", "file", Severity.PROBLEM, f"There is no {file}.", remedies.prepare)], [])
    try:
        examined = examine_rows(file, split=config.data.split, datasets=datasets)
    except UserError as error:
        return _FoundRows([Finding("rows", "file", Severity.PROBLEM, error.what, remedies.rows(file))], [])
    expected = {dataset.slug: dataset.expected_rows(config.data.name) for dataset in datasets}
    may_read = partial(_may_read, config)
    findings = check_rows(examined, datasets, expected, may_read=may_read, fix=remedies.rows(file))
    rows = [row for row in examined.rows if all(map(may_read, row.audio_files))]
    return _FoundRows(list(findings), _limited(rows, datasets, config.limit))


def _rows_of_tables(config: Config) -> _FoundRows:
    try:
        tables = chosen_tables(config)
    except UserError as error:
        return _FoundRows([Finding("rows", "own data", Severity.PROBLEM, error.what, error.hint)], [])
    findings, rows = [], list[Row]()
    for table in tables:
        own = table.split_rows(config.data.split, data_root=Path(config.data.root), after=len(rows), limit=config.limit)
        rows += own
        if table.problems:
            found = f"{len(table.problems)} lines cannot be understood: {some_of(table.problems)}"
            fix = f"Correct {table.table.file}; cmi-bench import shows all"
            findings.append(Finding("rows", table.name, Severity.PROBLEM, found, fix))
        elif not own:
            found = f"{table.table.file} has no row of split {config.data.split!r}."
            findings.append(Finding("rows", table.name, Severity.PROBLEM, found, "Choose one: data.split=..."))
        else:
            findings.append(Finding("rows", table.name, Severity.OK, f"{len(own):,} rows of {table.table.file}"))
    return _FoundRows(findings, rows)


def _check_data(config: Config, root: Path, found: _FoundRows, remedies: Remedies) -> Iterator[Finding]:
    yield from found.findings
    if not found.rows:
        return
    paths = list(dict.fromkeys(path for row in found.rows for path in row.audio_files))
    manifest = update_manifest(
        root, Path(config.data.manifest), paths, decode=True, progress=ItemCount("decoding the audio")
    )
    there = manifest.records.where(lambda path: is_regular(root / path))
    state = AudioState(found.rows, paths, type(manifest)(there), _upstream(root))
    yield from check_audio(root, state, remedies)


def _may_read(config: Config, audio: str) -> bool:
    """Tell whether a run reads the audio that a row names."""
    return config.data.allow_outside or not leads_outside(Path(config.data.root), audio)


def _limited(rows: Sequence[Row], datasets: Sequence[Dataset], limit: int | None) -> list[Row]:
    return [row for dataset in datasets for row in [one for one in rows if one.dataset is dataset][:limit]]


def _upstream(root: Path) -> dict[str, Content]:
    """Return what all sources promised, as far as anything was fetched."""
    slugs = [file.stem for file in sorted((root / FOLDER).glob("*.json"))]
    records = [record for slug in slugs if (record := read_record(root, slug)) is not None]
    return {path: content for record in records for path, content in record.items()}
