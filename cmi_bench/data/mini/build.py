"""Build the mini benchmark into a folder."""

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from cmi_bench.data.mini.clips import ClipPlan, write_clip
from cmi_bench.data.mini.cmi_pref import build_cmi_pref
from cmi_bench.data.mini.music_arena import build_music_arena
from cmi_bench.data.mini.music_eval import build_music_eval
from cmi_bench.data.mini.pam import build_pam
from cmi_bench.data.mini.part import Part
from cmi_bench.data.mini.stamp import write_stamp

MINI_VERSION = "2"
"""Raise it with any change that changes rows or audio: folders of another version are built anew."""
ROWS_FILE = "all_test.jsonl"


def plan_mini() -> Part:
    """Return all rows, in the order of the public file, and all clips; nothing is synthesised yet."""
    parts = (build_cmi_pref(), build_pam(), build_music_eval(), build_music_arena())
    return Part(
        rows=[row for part in parts for row in part.rows],
        clips=[clip for part in parts for clip in part.clips],
    )


def build_mini(root: Path) -> Path:
    """Synthesise the mini benchmark.

    The same machine and libraries give the same bytes each time.

    Args:
        root: Data root to fill; made if it is not there.

    Returns:
        The rows' file, `<root>/all_test.jsonl`.
    """
    root.mkdir(parents=True, exist_ok=True)
    plan = plan_mini()
    _write_clips(root, plan.clips)
    rows_file = root / ROWS_FILE
    _write_rows(rows_file, plan.rows)
    # The stamp comes last: a folder that has one was finished.
    write_stamp(root, rows_file, MINI_VERSION)
    return rows_file


def _write_clips(root: Path, clips: Sequence[ClipPlan]) -> None:
    # Threads, for NumPy and the MP3 encoder work outside the interpreter's lock, and unlike processes they
    # can be started from any program. The long clips go first, so that none is left to run alone at the end.
    longest_first = sorted(clips, key=lambda clip: -clip.seconds * clip.sr)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(lambda clip: write_clip(root, clip), longest_first):
            pass


def _write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
