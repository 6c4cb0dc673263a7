"""The mini benchmark: some 120 rows over all four datasets, synthesised here, for trials without any download.

What is in it
    Short pieces of real musical structure (chords, bass, a melody of motifs, drums; six genres, ten timbres,
    keys, two families of tempo), most of them damaged on purpose, by two of thirteen faults: six of the composition
    (stuck on a beat, shuffled beats, wrong chords, leaps, a melody out of step, changing timbres), which no model
    here was made for, and seven of playing and sound (out of tune, off the beat, wrong notes, noise, clipping,
    dropouts, muffling), which are what `model=signal` measures. The labels follow from what was done: musicality
    from how badly a clip was damaged, alignment from how much of its prompt (or reference) it fulfils. So a judge
    that listens can be told from one that does not, while nothing is learnt about real systems: all names are
    invented, and how bad each fault is for a person is an assumption.

    ========== ===== =================================================================================
    dataset    rows  what
    ========== ===== =================================================================================
    CMI-Pref   36    9 pairs per condition (text, + lyrics, + reference, + both), MP3, with confidences
    PAM        30    6 prompts x 5 systems, WAV, two mean opinion scores
    MusicEval  25    WAV at 16 kHz, two mean opinion scores
    MusicArena 29    pairs over five months, MP3, a few ties
    ========== ===== =================================================================================

    Plus five rows of split "train", which the benchmark leaves out. Clips last 4 to 6 s, some 10 to 14 s,
    three more than 30 s. Row format, order of the datasets and folders are those of the public `all_test.jsonl`.

Where to look
    `composition` (what is asked, and notes for it), `instruments` (sounds and the waveform), `degradation` (faults,
    clips), `labels` (prompts in words, what raters say), `mos_sets` and `pair_sets` (the four datasets).

The folder is built at most once however many processes ask; its stamp says which version it is and what must be there.
"""

import json
import logging
import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from cmi_bench.data.datasets import MiniPart, all_datasets
from cmi_bench.data.synthetic.degradation import ClipPlan, write_clip
from cmi_bench.data.synthetic.labels import Part
from cmi_bench.errors import UserError
from cmi_bench.utils.console import ProgressBar
from cmi_bench.utils.files import file_digest
from cmi_bench.utils.waiting import locked

log = logging.getLogger(__name__)

STAMP_FILE = "mini_stamp.json"
AUDIO_SUFFIXES = frozenset({".wav", ".mp3"})


@dataclass(frozen=True)
class Stamp:
    """What a folder holds."""

    version: str
    rows_sha256: str
    """Digest of the rows' file."""
    files: int
    """Number of audio files."""
    bytes: int
    """Size of all audio files together: a file that was cut off shows."""


def _describe(root: Path, rows_file: Path, version: str) -> Stamp:
    sizes = [path.stat().st_size for path in root.rglob("*") if path.suffix in AUDIO_SUFFIXES]
    return Stamp(version, file_digest(rows_file), len(sizes), sum(sizes))


def write_stamp(root: Path, rows_file: Path, version: str) -> None:
    """Mark the folder as finished, as it is now."""
    stamp = _describe(root, rows_file, version)
    (root / STAMP_FILE).write_text(json.dumps(asdict(stamp), indent=2) + "\n", encoding="utf-8")


def is_intact(root: Path, rows_file: Path, version: str) -> bool:
    """Tell whether the folder is a finished one of this version with all its files at full size."""
    try:
        stamp = json.loads((root / STAMP_FILE).read_text(encoding="utf-8"))
        return bool(stamp == asdict(_describe(root, rows_file, version)))
    except (OSError, ValueError):
        return False


MINI_VERSION = "3"
"""Raise it with any change that changes rows or audio: folders of another version are built anew."""
ROWS_FILE = "all_test.jsonl"


def plan_mini() -> Part:
    """Return all rows, in the order of the public file, and all clips; nothing is synthesised yet."""
    parts = [_build(part.build) for part in _mini_parts()]
    return Part(
        rows=[row for part in parts for row in part.rows],
        clips=[clip for part in parts for clip in part.clips],
    )


def _mini_parts() -> list[MiniPart]:
    parts = [dataset.mini for dataset in all_datasets() if dataset.mini is not None]
    return sorted(parts, key=lambda part: part.position)


def _build(place: str) -> Part:
    module, _, function = place.partition(":")
    return cast(Part, getattr(import_module(module), function)())


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
    with ThreadPoolExecutor(os.cpu_count()) as pool, ProgressBar("synthesising", len(clips), unit="clip") as bar:
        for _ in pool.map(lambda clip: write_clip(root, clip), longest_first):
            bar.advance(1)


def _write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


BUILD_SECONDS = 600.0
"""How long to wait for another process that builds it, which takes it well below a minute."""


def ensure_mini(root: Path) -> Path:
    """Build the mini benchmark where it is absent, incomplete or of another version.

    The folder belongs to the generator: building anew replaces it as a whole.

    Args:
        root: Data root of the mini benchmark.

    Returns:
        The rows' file, `<root>/all_test.jsonl`.

    Raises:
        UserError: The folder holds something else, which is left alone, or another process holds its lock.
    """
    root = root.absolute()
    rows_file = root / ROWS_FILE
    if is_intact(root, rows_file, MINI_VERSION):
        return rows_file
    root.parent.mkdir(parents=True, exist_ok=True)
    with locked(_sibling(root, "lock"), seconds=BUILD_SECONDS, what=f"builds the mini benchmark at {root}"):
        # Another process may have built it while this one waited.
        if not is_intact(root, rows_file, MINI_VERSION):
            _rebuild(root)
    return rows_file


def _sibling(root: Path, purpose: str) -> Path:
    return root.with_name(f".{root.name}.{purpose}")


def _rebuild(root: Path) -> None:
    """Build beside the folder and move the result into its place; only the holder of the lock comes here."""
    if root.exists() and any(root.iterdir()) and not (root / STAMP_FILE).exists():
        raise UserError(
            f"{root} is not empty and was not made by the mini benchmark's generator.",
            "Choose another folder for the mini data, or remove this one.",
        )
    log.info("Synthesising the mini benchmark into %s, once", root)
    building, outdated = _sibling(root, "building"), _sibling(root, "outdated")
    for leftover in (building, outdated):
        shutil.rmtree(leftover, ignore_errors=True)
    build_mini(building)
    if root.exists():
        root.replace(outdated)
    building.replace(root)
    shutil.rmtree(outdated, ignore_errors=True)
