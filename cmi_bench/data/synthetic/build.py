"""The mini benchmark: some 120 rows over all four datasets, synthesised here, for trials without any download; and some
400 rows of the same kind to train on.

What is in it
    Short pieces of real musical structure (chords, bass, a melody of motifs, drums; six genres, ten timbres,
    keys, two families of tempo), most of them damaged on purpose, by two of thirteen faults: six of the composition
    (stuck on a beat, shuffled beats, wrong chords, leaps, a melody out of step, changing timbres), which no model
    here was made for, and seven of playing and sound (out of tune, off the beat, wrong notes, noise, clipping,
    dropouts, muffling), which are what `model=signal` measures. The labels follow from what was done: musicality
    from how badly a clip was damaged, alignment from how much of its prompt (or reference) it fulfils. So a judge
    that listens can be told from one that does not, while nothing is learnt about real systems: all names are
    invented, and how bad each fault is for a person is an assumption.

    ========== ===== ======== ==============================================================================
    dataset    rows  to train what
    ========== ===== ======== ==============================================================================
    CMI-Pref   36    84       pairs, as many of each condition (text, + lyrics, + reference, + both), MP3,
                              with confidences
    PAM        30    110      prompts x 5 systems, WAV, two mean opinion scores
    MusicEval  25    100      WAV at 16 kHz, two mean opinion scores
    MusicArena 29    110      pairs over five months, MP3, a few ties
    ========== ===== ======== ==============================================================================

    The rows' file of the benchmark has five more of split "train", which it leaves out. Clips last 4 to 6 s; of the
    benchmark's some 10 to 14 s and three more than 30 s. Row format, order of the datasets and folders are those of
    the public `all_test.jsonl` and `all_train.jsonl`.

    The rows to train on lie in a folder of their own. They share no clip and no random stream with the benchmark, and
    those that would ask for the same in the same words (prompt and lyrics) are left out.

Where to look
    `composition` (what is asked, and notes for it), `instruments` (sounds and the waveform), `degradation` (faults,
    clips), `labels` (prompts in words, what raters say), `mos_sets` and `pair_sets` (the four datasets).

A folder is built at most once however many processes ask; its stamp says which version it is and what must be there.
"""

import json
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from cmi_bench.data import fields
from cmi_bench.data.datasets import MiniPart, all_datasets
from cmi_bench.data.synthetic.degradation import ClipPlan, write_clip
from cmi_bench.data.synthetic.labels import MiniSplit, Part
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
TRAINING_VERSION = "1"
"""The same, for a change that leaves the benchmark's own rows and audio as they are."""
ROWS_FILES = {MiniSplit.TEST: "all_test.jsonl", MiniSplit.TRAIN: "all_train.jsonl"}
NAMES = {MiniSplit.TEST: "the mini benchmark", MiniSplit.TRAIN: "the mini benchmark's training rows"}
"""For messages."""


def _version(split: MiniSplit) -> str:
    return MINI_VERSION if split is MiniSplit.TEST else f"{MINI_VERSION}, training {TRAINING_VERSION}"


def plan_mini(split: MiniSplit = MiniSplit.TEST) -> Part:
    """Return all rows of a split, in the order of the public file, and all clips; nothing is synthesised yet."""
    parts = [_build(part.build, split) for part in _mini_parts()]
    plan = Part(
        rows=[row for part in parts for row in part.rows],
        clips=[clip for part in parts for clip in part.clips],
    )
    return _without_instructions_of(plan_mini(), plan) if split is MiniSplit.TRAIN else plan


def _without_instructions_of(benchmark: Part, plan: Part) -> Part:
    """Leave out rows with a prompt and lyrics of the benchmark: of references little is said, in one of few ways."""
    asked = {_instruction(row) for row in benchmark.rows}
    rows = [row for row in plan.rows if _instruction(row) not in asked]
    audio = (fields.AUDIO_A, fields.AUDIO_B, fields.REF_AUDIO)
    named = {row[field] for row in rows for field in audio if row.get(field)}
    return Part(rows, [clip for clip in plan.clips if clip.path in named])


def _instruction(row: Mapping[str, Any]) -> tuple[str, str]:
    return row[fields.PROMPT], row.get(fields.LYRICS, "")


def _mini_parts() -> list[MiniPart]:
    parts = [dataset.mini for dataset in all_datasets() if dataset.mini is not None]
    return sorted(parts, key=lambda part: part.position)


def _build(place: str, split: MiniSplit) -> Part:
    module, _, function = place.partition(":")
    return cast(Part, getattr(import_module(module), function)(split))


def build_mini(root: Path, split: MiniSplit = MiniSplit.TEST) -> Path:
    """Synthesise the mini benchmark, or its training rows.

    The same machine and libraries give the same bytes each time.

    Args:
        root: Data root to fill; made if it is not there.
        split: Which rows.

    Returns:
        The rows' file, `<root>/all_test.jsonl` or `<root>/all_train.jsonl`.
    """
    root.mkdir(parents=True, exist_ok=True)
    plan = plan_mini(split)
    _write_clips(root, plan.clips)
    rows_file = root / ROWS_FILES[split]
    _write_rows(rows_file, plan.rows)
    # The stamp comes last: a folder that has one was finished.
    write_stamp(root, rows_file, _version(split))
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


def ensure_mini(root: Path, split: MiniSplit = MiniSplit.TEST) -> Path:
    """Build the mini benchmark, or its training rows, where they are absent, incomplete or of another version.

    The folder belongs to the generator: building anew replaces it as a whole.

    Args:
        root: Data root of these rows; each split has its own.
        split: Which rows.

    Returns:
        The rows' file, `<root>/all_test.jsonl` or `<root>/all_train.jsonl`.

    Raises:
        UserError: The folder holds something else, which is left alone, or another process holds its lock.
    """
    root = root.absolute()
    rows_file = root / ROWS_FILES[split]
    if is_intact(root, rows_file, _version(split)):
        return rows_file
    root.parent.mkdir(parents=True, exist_ok=True)
    with locked(_sibling(root, "lock"), seconds=BUILD_SECONDS, what=f"builds {NAMES[split]} at {root}"):
        # Another process may have built it while this one waited.
        if not is_intact(root, rows_file, _version(split)):
            _rebuild(root, split)
    return rows_file


def ensure_minis(root: Path, train_root: Path) -> None:
    """Build both, for what is done with the rows to train on: the benchmark's must not be learnt from.

    Args:
        root: Data root of the benchmark; the manifest is there.
        train_root: Data root of the rows to train on.

    Raises:
        UserError: As of `ensure_mini`.
    """
    ensure_mini(root)
    ensure_mini(train_root, MiniSplit.TRAIN)


def _sibling(root: Path, purpose: str) -> Path:
    return root.with_name(f".{root.name}.{purpose}")


def _rebuild(root: Path, split: MiniSplit) -> None:
    """Build beside the folder and move the result into its place; only the holder of the lock comes here."""
    if root.exists() and any(root.iterdir()) and not (root / STAMP_FILE).exists():
        raise UserError(
            f"{root} is not empty and was not made by the mini benchmark's generator.",
            "Choose another folder for the mini data, or remove this one.",
        )
    log.info("Synthesising %s into %s, once", NAMES[split], root)
    building, outdated = _sibling(root, "building"), _sibling(root, "outdated")
    for leftover in (building, outdated):
        shutil.rmtree(leftover, ignore_errors=True)
    build_mini(building, split)
    if root.exists():
        root.replace(outdated)
    building.replace(root)
    shutil.rmtree(outdated, ignore_errors=True)
