"""What identifies the rows that a run scored, dataset by dataset."""

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cmi_bench.data.fields import is_own
from cmi_bench.data.manifest import Manifest
from cmi_bench.data.rows import Row, names_anywhere
from cmi_bench.tracking.metadata import look_up


@dataclass(frozen=True)
class ScoredDataset:
    """The rows of one dataset that a run scored."""

    name: str
    rows: int
    digest: str
    """SHA-256 over the rows' own fields, in their order, and over the contents of their audio: hexadecimal."""


def describe_datasets(rows: Collection[Row], manifest: Manifest) -> list[ScoredDataset]:
    """Return the datasets of a run's rows, in the order in which they come; files that are missing do not count.

    The rows are gone through twice, and none of them is kept.
    """
    counts: Counter[str] = Counter()
    records = manifest.records
    audio: dict[str, npt.NDArray[np.bool_]] = {}
    names: dict[str, dict[str, str]] = {}
    for row in rows:
        name = row.dataset.name
        counts[name] += 1
        if name not in audio:
            audio[name], names[name] = np.zeros(len(records), np.bool_), {}
        audio[name][[place for path in row.audio_files if (place := records.place(path)) is not None]] = True
        names[name] |= names_anywhere([row])
    texts = {
        name: _RowsText(manifest.digest_of(np.flatnonzero(is_there), names[name])) for name, is_there in audio.items()
    }
    for row in rows:
        texts[row.dataset.name].add(row)
    return [ScoredDataset(name, counts[name], text.digest()) for name, text in texts.items()]


class _RowsText:
    """The `content_key` of a digest of audio and of all rows, which takes the rows as they come."""

    def __init__(self, audio: str) -> None:
        self._hash = hashlib.sha256(f'{{"audio": "{audio}", "rows": ['.encode())
        self._between = ""

    def add(self, row: Row) -> None:
        own = {field: value for field, value in row.raw.items() if is_own(field)}
        # As text, for a row may hold NaN.
        self._hash.update(f"{self._between}{json.dumps(json.dumps(own, sort_keys=True), ensure_ascii=False)}".encode())
        self._between = ", "

    def digest(self) -> str:
        whole = self._hash.copy()
        whole.update(b"]}")
        return whole.hexdigest()


DATASETS = ("data", "datasets")
"""Where they are in a run's metadata."""


def recorded_datasets(metadata: Mapping[str, Any]) -> dict[str, ScoredDataset]:
    """Return the datasets that a run's metadata describe, by name."""
    return {one["name"]: ScoredDataset(**one) for one in look_up(metadata, *DATASETS) or ()}
