"""Rows like those of CMI-Pref: two clips of 30 s and a reference each, as MP3 files."""

import json
from pathlib import Path

import soundfile

from cmi_bench.benchmarks.music import SR, music
from cmi_bench.data import fields

SECONDS = 30.0
ROWS_PER_REFERENCE = 2
"""CMI-Pref asks with one reference more than once."""


def write_workload(root: Path, rows: int) -> Path:
    """Write audio and rows; returns the rows' file.

    Args:
        root: Data root; created.
        rows: How many pairs.
    """
    root.mkdir(parents=True, exist_ok=True)
    lines = []
    for number in range(rows):
        reference = number // ROWS_PER_REFERENCE
        names = [f"{number}a.mp3", f"{number}b.mp3", f"ref{reference}.mp3"]
        for seed, name in zip((3 * number, 3 * number + 1, 3 * reference + 2), names, strict=True):
            if not (root / name).exists():
                soundfile.write(root / name, music(SECONDS, seed=seed), SR)
        lines.append(json.dumps(_row(number, names)))
    path = root / "rows.jsonl"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def _row(number: int, names: list[str]) -> dict[str, str]:
    return {
        fields.SOURCE: "cmi-arena-annotation",
        fields.SPLIT: "test",
        fields.AUDIO_A: names[0],
        fields.AUDIO_B: names[1],
        fields.REF_AUDIO: names[2],
        fields.PROMPT: f"A slow song number {number} for strings and drums, warm and a little sad.",
        fields.LYRICS: f"[verse] line {number} and on we go, the night is long, the lights are low",
        fields.PREFERENCE_MUSICALITY: "model_a" if number % 2 else "model_b",
        fields.PREFERENCE_ALIGNMENT: "model_b" if number % 3 else "model_a",
    }
