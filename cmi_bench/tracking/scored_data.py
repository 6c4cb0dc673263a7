"""What identifies the rows that a run scored, dataset by dataset."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cmi_bench.data.fields import is_own
from cmi_bench.data.manifest import Manifest
from cmi_bench.data.rows import Row, names_anywhere
from cmi_bench.tracking.metadata import look_up
from cmi_bench.utils.files import content_key


@dataclass(frozen=True)
class ScoredDataset:
    """The rows of one dataset that a run scored."""

    name: str
    rows: int
    digest: str
    """SHA-256 over the rows' own fields, in their order, and over the contents of their audio: hexadecimal."""


def describe_datasets(rows: Iterable[Row], manifest: Manifest) -> list[ScoredDataset]:
    """Return the datasets of a run's rows, in the order in which they come; files that are missing do not count."""
    rows_of: dict[str, list[Row]] = {}
    for row in rows:
        rows_of.setdefault(row.dataset.name, []).append(row)
    return [ScoredDataset(name, len(chosen), _digest(chosen, manifest)) for name, chosen in rows_of.items()]


def _digest(rows: Iterable[Row], manifest: Manifest) -> str:
    rows = list(rows)
    own = [{field: value for field, value in row.raw.items() if is_own(field)} for row in rows]
    there = {path for row in rows for path in row.audio_files if path in manifest.records}
    # A row may hold NaN, which a content key does not take as it is.
    return content_key(
        rows=[json.dumps(one, sort_keys=True) for one in own], audio=manifest.audio_digest(there, names_anywhere(rows))
    )


DATASETS = ("data", "datasets")
"""Where they are in a run's metadata."""


def recorded_datasets(metadata: Mapping[str, Any]) -> dict[str, ScoredDataset]:
    """Return the datasets that a run's metadata describe, by name."""
    return {one["name"]: ScoredDataset(**one) for one in look_up(metadata, *DATASETS) or ()}
