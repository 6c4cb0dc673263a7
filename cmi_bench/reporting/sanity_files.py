"""The sanity ladder as CSV and JSON."""

import json
from collections.abc import Sequence
from typing import Any

from cmi_bench.evaluation.ladder import LadderResult
from cmi_bench.reporting.csv_text import csv_text

STEP_COLUMNS = ("kind", "step", "severity", "judgement", "n", "mean_change", "sd_change", "share_lower")


def _steps(results: Sequence[LadderResult]) -> list[dict[str, Any]]:
    return [
        dict(zip(STEP_COLUMNS, change, strict=True)) | {"judgement": str(change.judgement), "kind": str(change.kind)}
        for result in results
        for change in result.changes
    ]


def sanity_csv(results: Sequence[LadderResult]) -> str:
    """Return the text of `sanity.csv`: a line for each step and judgement; a cell without a value is empty."""
    return csv_text(STEP_COLUMNS, _steps(results))


def sanity_json(results: Sequence[LadderResult]) -> str:
    """Return the text of `sanity.json`: the clean scores, the steps, and each kind's rank correlation."""
    document = {
        "clean": {str(result.judgement): list(result.clean) for result in results},
        "steps": _steps(results),
        "kinds": [
            {
                "kind": str(trend.kind),
                "judgement": str(trend.judgement),
                "rank_correlation": trend.correlation.value,
                "n": trend.n,
                "note": trend.correlation.reason,
            }
            for result in results
            for trend in result.trends
        ],
    }
    return json.dumps(document, indent=2, allow_nan=False) + "\n"
