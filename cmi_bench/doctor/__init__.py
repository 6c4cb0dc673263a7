"""`task=doctor`: whether a run would work, and what to do if not.

`examine` makes all checks, in the order in which a run would need what they look at. Each check is a function that
yields findings.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from cmi_bench.config import Config
from cmi_bench.data.datasets import Dataset, dataset_by_slug
from cmi_bench.data.manifest import update_manifest
from cmi_bench.data.rows import Row, leads_outside
from cmi_bench.doctor.data import AudioState, check_audio, check_checkpoint, check_rows, examine_rows, some_clips
from cmi_bench.doctor.environment import check_disk, check_environment, check_login, check_tracking
from cmi_bench.doctor.finding import Finding, Remedies, Severity
from cmi_bench.download.state import FOLDER, Content, read_record
from cmi_bench.errors import UserError
from cmi_bench.types import Clip
from cmi_bench.utils.console import ItemCount
from cmi_bench.utils.files import is_regular


def examine(config: Config, outputs: Path, words: Sequence[str]) -> list[Finding]:
    """Look at everything that a run with this configuration needs.

    Args:
        config: The configuration.
        outputs: Where runs write.
        words: The overrides on the command line, for the commands that fix things.
    """
    root = Path(config.data.root)
    remedies = Remedies(words, root, config.data.synthesise)
    data = list(_check_data(config, root, remedies))
    model = list(check_checkpoint(config, remedies, _clips(config, root)))
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


def _check_data(config: Config, root: Path, remedies: Remedies) -> Iterator[Finding]:
    file = Path(config.data.jsonl)
    datasets = tuple(dataset_by_slug(slug) for slug in config.subset.datasets)
    if not file.exists():
        yield Finding("rows", "file", Severity.PROBLEM, f"There is no {file}.", remedies.prepare)
        return
    try:
        examined = examine_rows(file, split=config.data.split, datasets=datasets)
    except UserError as error:
        yield Finding("rows", "file", Severity.PROBLEM, error.what, remedies.rows(file))
        return
    expected = {dataset.slug: dataset.expected_rows(config.data.name) for dataset in datasets}
    yield from check_rows(examined, datasets, expected, may_read=partial(_may_read, config), fix=remedies.rows(file))
    rows = _limited(examined.rows, datasets, config.limit)
    paths = list(dict.fromkeys(path for row in rows for path in row.audio_files if _may_read(config, path)))
    manifest = update_manifest(
        root, Path(config.data.manifest), paths, decode=True, progress=ItemCount("decoding the audio")
    )
    there = {path: record for path, record in manifest.records.items() if is_regular(root / path)}
    state = AudioState(rows, paths, type(manifest)(there), _upstream(root))
    yield from check_audio(root, state, remedies)


def _clips(config: Config, root: Path) -> list[Clip]:
    """Return some of the clips that are there."""
    datasets = tuple(dataset_by_slug(slug) for slug in config.subset.datasets)
    try:
        rows = examine_rows(Path(config.data.jsonl), split=config.data.split, datasets=datasets).rows
    except UserError:
        return []
    return some_clips(_limited(rows, datasets, config.limit), root, may_read=partial(_may_read, config))


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
