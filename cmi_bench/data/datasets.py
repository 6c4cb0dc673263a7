"""The four human-labelled datasets: which rows are theirs, what is judged, and where the labels are."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from cmi_bench.data import fields


class Judgement(StrEnum):
    """The two things a reward model judges."""

    MUSICALITY = "musicality"
    ALIGNMENT = "alignment"


SCORE_FIELD = {
    Judgement.MUSICALITY: fields.PREDICTED_MUSICALITY,
    Judgement.ALIGNMENT: fields.PREDICTED_ALIGNMENT,
}
"""Where a results row keeps clip A's score (clip B's: with `fields.SIDE_B` appended)."""


@dataclass(frozen=True)
class MosTask:
    """One clip against its mean opinion score; agreement is a correlation."""

    name: str
    """As in the tables: "musicality" or "alignment"."""
    judgement: Judgement
    """Which of the model's two scores is compared."""
    label_field: str


@dataclass(frozen=True)
class PairTask:
    """Two clips against a preference; agreement is an accuracy."""

    name: str
    """As in the tables: "musicality", "alignment" or "preference"."""
    judgement: Judgement
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
        MosTask("musicality", Judgement.MUSICALITY, fields.MUSICALITY_MOS),
        MosTask("alignment", Judgement.ALIGNMENT, fields.ALIGNMENT_MOS),
    ),
    owns_source=lambda source: "PAM" in source,
)
MUSIC_EVAL = Dataset(
    name="MusicEval",
    slug="musiceval",
    tasks=(MosTask("musicality", Judgement.MUSICALITY, fields.MUSICALITY_MOS),),
    owns_source=lambda source: source in {"MusicEval", "SongEval"},
)
MUSIC_ARENA = Dataset(
    name="MusicArena",
    slug="music_arena",
    # The arena asked which song is better as a whole, which is closest to musicality: only that score decides.
    tasks=(PairTask("preference", Judgement.MUSICALITY, fields.PREFERENCE, fields.PREDICTED_PREFERENCE),),
    owns_source=lambda source: "Music Arena" in source,
)
CMI_PREF = Dataset(
    name="CMI-Pref",
    slug="cmi_pref",
    tasks=(
        PairTask(
            "alignment",
            Judgement.ALIGNMENT,
            fields.PREFERENCE_ALIGNMENT,
            fields.PREDICTED_PREFERENCE_ALIGNMENT,
            fields.CONFIDENCE_ALIGNMENT,
        ),
        PairTask(
            "musicality",
            Judgement.MUSICALITY,
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
