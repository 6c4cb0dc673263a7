"""Results rows for reports: every kind of task, with audio that is there and audio that is not."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from cmi_bench.config import MetricSettings
from cmi_bench.evaluation.evaluate import evaluate
from cmi_bench.reporting.html.format import ReportSource

SR = 8000
VALID = {"split": "test", "inference_valid_a": True}


def write_clip(path: Path, seconds: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.1 * np.sin(np.arange(int(SR * seconds)) / 9), SR, subtype="PCM_16")


def rows(n: int = 24) -> list[dict[str, Any]]:
    rng = np.random.default_rng(5)
    found: list[dict[str, Any]] = []
    for i in range(n):
        worth, other = rng.uniform(1, 5, 2).round(1)
        scores = {"predicted_musicality": worth + rng.normal(), "predicted_text-music alignment": rng.normal()}
        found.append(
            VALID | scores
            | {"source": "PAM (music)", "audio-path": f"pam/clip {i}#a.wav", "prompt": f"<b>prompt & {i // 3}</b>",
               "model_a": "alder", "musicality": worth, "text-music alignment": other}
        )  # fmt: skip
        found.append(
            VALID | scores
            | {"source": "cmi-arena-annotation", "audio-path": f"cmi/{i}a.wav", "audio2": f"cmi/{i}b.wav",
               "ref-audio-path": "cmi/ref.wav" if i % 2 else "", "prompt": f"song {i // 3}",
               "lyrics": "la la\n</script>" if i % 3 else "", "inference_valid_b": True,
               "predicted_musicality_b": other + rng.normal(), "predicted_text-music alignment_b": rng.normal(),
               "preference-musicality": "model_a" if worth > other else "model_b",
               "preference-alignment": ["model_a", "model_b", "both"][i % 3],
               "confidence_preference-musicality": str(1 + i % 5), "confidence_preference-alignment": "3"}
        )  # fmt: skip
    return [json.loads(json.dumps(row)) for row in found]


def write_audio(root: Path, lines: list[dict[str, Any]]) -> None:
    named = {str(row[key]) for row in lines for key in ("audio-path", "audio2", "ref-audio-path") if row.get(key)}
    for number, path in enumerate(sorted(named)):
        write_clip(root / path, 0.2 + 0.01 * number)


def source_of(lines: list[dict[str, Any]], *, root: Path | None = None, **settings: Any) -> ReportSource:
    evaluation = evaluate(lines, MetricSettings(**{"resamples": 50} | settings))
    return ReportSource(evaluation, lines, "my <model>", [root] if root else [])
