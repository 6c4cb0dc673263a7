"""What training learns from: rows with the labels that people gave them, on one scale and with a weight each."""

from dataclasses import dataclass
from enum import IntEnum

from cmi_bench.data.rows import Row
from cmi_bench.types import Aspect


class Outcome(IntEnum):
    """What was said of a pair of clips."""

    A = 0
    B = 1
    TIE = 2
    """Neither is better, or nobody says more than that."""
    BOTH_BAD = 3


@dataclass(frozen=True)
class Label:
    """What was said of a row under one aspect."""

    aspect: Aspect
    value: Outcome | float
    """Of a pair its outcome; of a single clip its rating on the scale from 1 to 5."""
    weight: float = 1.0
    """How much it counts, by the confidence of its annotator or the agreement of its raters; above 0."""


@dataclass(frozen=True)
class Example:
    """A row with at least one label."""

    row: Row
    source: str
    """Where it comes from, as `train.sources` and weights by source name it: a dataset's slug."""
    labels: tuple[Label, ...]
    """At most one of each aspect, in the order of the dataset's tasks."""
