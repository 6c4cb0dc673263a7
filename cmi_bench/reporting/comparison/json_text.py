"""A comparison as one JSON document."""

import json
import math
from dataclasses import asdict
from typing import Any

from cmi_bench.evaluation.comparison.records import Comparison, Disagreement


def comparison_json(comparison: Comparison) -> str:
    """Return the text of `comparison.json`: all that the tables hold, and the settings."""
    document = {
        "runs": dict(comparison.origins),
        "alpha": comparison.alpha,
        "settings": asdict(comparison.settings),
        "contests": [asdict(contest) for contest in comparison.contests],
        "disagreements": [_disagreement(row) for row in comparison.disagreements],
        "notes": list(comparison.notes),
    }
    return json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def _disagreement(row: Disagreement) -> dict[str, Any]:
    """Leave out the row itself, which is in disagreements.csv and in the results files."""
    return {
        **{name: getattr(row, name) for name in ("dataset", "task", "row", "label", "answers", "spread")},
        # JSON knows no infinity, which the compatible protocol takes for a score.
        "predictions": {run: value if math.isfinite(value) else None for run, value in row.predictions.items()},
    }
