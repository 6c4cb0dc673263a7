"""The rows that runs have in common: a row is known by what it says, not by where it stands."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from cmi_bench.data.datasets import Dataset
from cmi_bench.data.fields import is_own
from cmi_bench.errors import UserError
from cmi_bench.evaluation.selection import ResultRow, in_words, select_rows

Key = tuple[str, str, int]
"""Dataset, content, and the how-manieth row with it: identical rows are told apart by their order."""


class Run(NamedTuple):
    """The results of one run."""

    label: str
    """Its name in tables; no two runs have the same."""
    rows: Sequence[Mapping[str, Any]]
    """Lines of its results file."""
    origin: str
    """Where they are from, for messages."""


@dataclass(frozen=True)
class PairedRows:
    """Rows that all runs have, in the same order."""

    rows_of: Mapping[Dataset, Mapping[str, Sequence[ResultRow]]]
    """By dataset and label; the k-th rows of all runs are the same row."""
    n_rows: Mapping[str, int]
    """By label, how many rows the run has, in common or not."""

    @property
    def n_common(self) -> int:
        """How many rows all runs have."""
        return sum(len(next(iter(of_run.values()))) for of_run in self.rows_of.values())

    @property
    def counts(self) -> list[str]:
        """How many rows of each run are not in all of them, in words; nothing where all runs have the same."""
        if all(n == self.n_common for n in self.n_rows.values()):
            return []
        return [f"{run}: {in_words(n)}, {n - self.n_common} of them not in every run" for run, n in self.n_rows.items()]


def pair_rows(runs: Sequence[Run], split: str) -> PairedRows:
    """Bring the rows of several runs together.

    Args:
        runs: One or more.
        split: Rows of other splits are passed over.
    """
    selections = {run.label: select_rows(run.rows, split).rows_of for run in runs}
    keyed = {label: _keyed(rows_of) for label, rows_of in selections.items()}
    common = set.intersection(*(set(rows) for rows in keyed.values()))
    rows_of: dict[Dataset, dict[str, list[ResultRow]]] = {}
    for dataset in selections[runs[0].label]:
        order = [key for key in keyed[runs[0].label] if key in common and key[0] == dataset.slug]
        if order:
            rows_of[dataset] = {label: [rows[key] for key in order] for label, rows in keyed.items()}
    return PairedRows(rows_of, {label: len(rows) for label, rows in keyed.items()})


def require_common(paired: PairedRows, *, intersect: bool) -> list[str]:
    """Refuse runs over different rows, unless told to take those in common.

    Returns:
        What was left out, in words.

    Raises:
        UserError: The runs are over different rows and that was not allowed for, or have none in common.
    """
    counts = paired.counts
    listed = "".join(f"\n  {line}" for line in counts)
    if not paired.n_common:
        raise UserError(f"The runs have no row in common.{listed}", "Compare runs over the same benchmark file.")
    if counts and not intersect:
        raise UserError(
            f"The runs are over different rows.{listed}",
            f"intersect=true compares them on the {in_words(paired.n_common)} in common.",
        )
    return [f"Compared on the {in_words(paired.n_common)} that all runs have.", *counts] if counts else []


def _keyed(rows_of: Mapping[Dataset, Sequence[ResultRow]]) -> dict[Key, ResultRow]:
    seen: Counter[tuple[str, str]] = Counter()
    keyed: dict[Key, ResultRow] = {}
    for dataset, rows in rows_of.items():
        for row in rows:
            content = (dataset.slug, _content(row.raw))
            seen[content] += 1
            keyed[*content, seen[content]] = row
    return keyed


def _content(raw: Mapping[str, Any]) -> str:
    own = {field: value for field, value in raw.items() if is_own(field)}
    return json.dumps(own, sort_keys=True, ensure_ascii=False)
