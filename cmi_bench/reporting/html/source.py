"""What a report is made from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cmi_bench.evaluation.records import Evaluation


@dataclass(frozen=True)
class ReportSource:
    """An evaluation with the rows it was made from."""

    evaluation: Evaluation
    results: Sequence[Mapping[str, Any]]
    """All rows that the evaluation was given, in its order."""
    label: str
    """The run's name."""
    audio_roots: Sequence[Path] = ()
    """What the rows' audio paths may be relative to, the likeliest first."""
    metadata: Mapping[str, Any] | None = None
    """The run's `metadata.json`; None where there is none."""
