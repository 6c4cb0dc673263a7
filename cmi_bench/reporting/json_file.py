"""The result tables as one JSON document."""

import json
from collections.abc import Mapping
from typing import Any

from cmi_bench.evaluation.records import Evaluation
from cmi_bench.evaluation.settings import MetricSettings
from cmi_bench.reporting.columns import cells


def metrics_json(evaluation: Evaluation, config: Mapping[str, Any] | None = None) -> str:
    """Return the text of `metrics.json`: config, summary, detail, notes.

    Args:
        evaluation: What was measured.
        config: Written as it is, plain JSON values only; None writes the evaluation's own settings.

    Raises:
        ValueError: NaN or infinity in `config`, which are not JSON.
    """
    document = {
        "config": public_config(evaluation.settings) if config is None else dict(config),
        "summary": [cells(record) for record in evaluation.summary],
        "detail": [cells(record) for record in evaluation.detail],
        "notes": evaluation.notes,
    }
    return json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def public_config(settings: MetricSettings) -> dict[str, Any]:
    """Return settings in the form, and under the names, of the public `eval_benchmark.yaml`."""
    return {
        "filter": {"split": settings.split},
        "metrics": {
            "include_lcc": settings.include_lcc,
            "include_k_tau": settings.include_k_tau,
            "protocol": settings.protocol,
            "resamples": settings.resamples,
            "confidence": settings.confidence,
            "cluster": settings.cluster,
            "seed": settings.seed,
        },
        "groups": {
            "musicarena_by_month": settings.by_month,
            "cmi_by_confidence": settings.by_confidence,
            "cmi_by_modality": settings.by_condition,
            "cmi_by_reference": settings.by_reference,
            "cmi_by_lyrics": settings.by_lyrics,
            "by_duration": settings.by_duration,
            "duration_bin": list(settings.duration_bins),
        },
    }
