"""The four human-labelled datasets: which rows are theirs, what is judged, and where the labels are.

What a generation instruction consists of: text, and perhaps lyrics and reference audio.

What people said: preferences between two clips, and mean opinion scores.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from cmi_bench.data import fields
from cmi_bench.types import Aspect

SCORE_FIELD = {
    Aspect.MUSICALITY: fields.PREDICTED_MUSICALITY,
    Aspect.ALIGNMENT: fields.PREDICTED_ALIGNMENT,
}
"""Where a results row keeps clip A's score (clip B's: with `fields.SIDE_B` appended)."""


@dataclass(frozen=True)
class MosTask:
    """One clip against its mean opinion score; agreement is a correlation."""

    name: str
    """As in the tables: "musicality" or "alignment"."""
    aspect: Aspect
    """Which of the model's two scores is compared."""
    label_field: str


@dataclass(frozen=True)
class PairTask:
    """Two clips against a preference; agreement is an accuracy."""

    name: str
    """As in the tables: "musicality", "alignment" or "preference"."""
    aspect: Aspect
    """Which of the model's two scores decides."""
    label_field: str
    predicted_field: str
    """Where a results row keeps the side that the scores prefer."""
    confidence_field: str | None = None
    """The annotator's confidence, 1 to 5 in half steps, as text."""


Task = MosTask | PairTask


@dataclass(frozen=True)
class Dataset:
    """One of the benchmark's test sets."""

    name: str
    """As in results and tables."""
    slug: str
    """As in `subset=` and in metric names on the command line."""
    tasks: tuple[Task, ...]
    """In the tables' order."""
    owns_source: Callable[[str], bool]
    """Whether a row with this `source` belongs to the dataset."""

    @property
    def is_paired(self) -> bool:
        """Whether a row compares two clips."""
        return any(isinstance(task, PairTask) for task in self.tasks)


PAM = Dataset(
    name="PAM",
    slug="pam",
    tasks=(
        MosTask("musicality", Aspect.MUSICALITY, fields.MUSICALITY_MOS),
        MosTask("alignment", Aspect.ALIGNMENT, fields.ALIGNMENT_MOS),
    ),
    owns_source=lambda source: "PAM" in source,
)
MUSIC_EVAL = Dataset(
    name="MusicEval",
    slug="musiceval",
    tasks=(MosTask("musicality", Aspect.MUSICALITY, fields.MUSICALITY_MOS),),
    owns_source=lambda source: source in {"MusicEval", "SongEval"},
)
MUSIC_ARENA = Dataset(
    name="MusicArena",
    slug="music_arena",
    # The arena asked which song is better as a whole, which is closest to musicality: only that score decides.
    tasks=(PairTask("preference", Aspect.MUSICALITY, fields.PREFERENCE, fields.PREDICTED_PREFERENCE),),
    owns_source=lambda source: "Music Arena" in source,
)
CMI_PREF = Dataset(
    name="CMI-Pref",
    slug="cmi_pref",
    tasks=(
        PairTask(
            "alignment",
            Aspect.ALIGNMENT,
            fields.PREFERENCE_ALIGNMENT,
            fields.PREDICTED_PREFERENCE_ALIGNMENT,
            fields.CONFIDENCE_ALIGNMENT,
        ),
        PairTask(
            "musicality",
            Aspect.MUSICALITY,
            fields.PREFERENCE_MUSICALITY,
            fields.PREDICTED_PREFERENCE_MUSICALITY,
            fields.CONFIDENCE_MUSICALITY,
        ),
    ),
    owns_source=lambda source: source == "cmi-arena-annotation",
)

DATASETS = (PAM, MUSIC_EVAL, MUSIC_ARENA, CMI_PREF)
"""In the order of the summary table."""


def dataset_of_source(source: str) -> Dataset | None:
    """Return the dataset a row's `source` belongs to, None if to none of them."""
    return next((dataset for dataset in DATASETS if dataset.owns_source(source)), None)


def dataset_by_slug(slug: str) -> Dataset:
    """Return the dataset named in `subset=`.

    Raises:
        KeyError: No dataset has that slug.
    """
    return {dataset.slug: dataset for dataset in DATASETS}[slug]


MOS_RANGE = (1.0, 5.0)


class LabelError(ValueError):
    """A label that is there but not understood."""


class Preference(StrEnum):
    """Which clip of a pair was preferred; the values are the public files' spelling."""

    A = "model_a"
    B = "model_b"
    BOTH = "both"


_SPELLINGS = {
    "a": Preference.A,
    "model_a": Preference.A,
    "b": Preference.B,
    "model_b": Preference.B,
    "both": Preference.BOTH,
    "neither": Preference.BOTH,
    "tie": Preference.BOTH,
    "both_bad": Preference.BOTH,
}


def is_missing(value: Any) -> bool:
    """Tell whether a field says nothing: absent, null, NaN, or blank text."""
    return value is None or (isinstance(value, float) and math.isnan(value)) or not str(value).strip()


def parse_preference(value: Any) -> Preference | None:
    """Read a preference label in any spelling of the public files.

    Returns:
        The preference, or None where there is no label.

    Raises:
        LabelError: The value is none of the known spellings.
    """
    if is_missing(value):
        return None
    try:
        return _SPELLINGS[str(value).strip().lower()]
    except KeyError:
        raise LabelError(f"{value!r} is not a preference (known: {', '.join(_SPELLINGS)}, in any case)") from None


def parse_mos(value: Any) -> float | None:
    """Read a mean opinion score.

    Returns:
        The score, or None where there is no label.

    Raises:
        LabelError: Not a number, or outside 1 to 5.
    """
    if is_missing(value):
        return None
    try:
        score = float(value)
    except (TypeError, ValueError):
        raise LabelError(f"{value!r} is not a number") from None
    low, high = MOS_RANGE
    if not low <= score <= high:
        raise LabelError(f"{value!r} is not a mean opinion score (expected {low:g} to {high:g})")
    return score


CONDITIONS = ("text", "text+lyrics", "text+ref", "text+lyrics+ref")
"""The four of CMI-Pref, as the public tables spell them."""


def condition_of(raw: Mapping[str, Any]) -> str:
    """Return the condition of a row as it stands in a file.

    Args:
        raw: The row's own fields; `lyrics` and `ref-audio-path` count where they are not empty.

    Returns:
        One of `CONDITIONS`, or what the field `modality` says where it is given.
    """
    given = raw.get(fields.MODALITY)
    if not is_missing(given):
        return str(given).strip()
    has_lyrics = not is_missing(raw.get(fields.LYRICS))
    has_ref = not is_missing(raw.get(fields.REF_AUDIO))
    return "text" + "+lyrics" * has_lyrics + "+ref" * has_ref


def has_lyrics(condition: str) -> bool | None:
    """Tell whether lyrics are part of a condition; None for a condition that is none of the four."""
    return "lyrics" in condition.split("+") if condition in CONDITIONS else None


def has_reference(condition: str) -> bool | None:
    """Tell whether reference audio is part of a condition; None for a condition that is none of the four."""
    return "ref" in condition.split("+") if condition in CONDITIONS else None
