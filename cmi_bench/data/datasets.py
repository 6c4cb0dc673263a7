"""The datasets of the benchmark. One declaration says all that the rest of the package asks about a dataset.

Rows, tables, leaderboard, `task=prepare`, `task=doctor` and the mini benchmark go over `all_datasets()`. Another
dataset is added by `register_dataset(Dataset(...))`, from any module that is imported before the evaluation.
"""

import dataclasses
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from cmi_bench.config import MetricSettings
from cmi_bench.data import fields
from cmi_bench.data.fields import MOS_RANGE, Scale, is_missing
from cmi_bench.errors import UserError, did_you_mean
from cmi_bench.types import Aspect

Raw = Mapping[str, Any]
"""A row as it stands in a file: its own fields, and in results those that a run added."""


class LeaderboardGroup(NamedTuple):
    """A group of a task's rows that has a column of its own in the leaderboard."""

    key: str
    """In the column's key in the files of reported figures: "T" of "CMIPref_T_percent"."""
    name: str
    """The column's heading."""
    group_key: str
    group_value: str
    rows: int
    """How many rows of the whole benchmark are in the group: the reported figures are over all of them."""


@dataclass(frozen=True)
class MosTask:
    """One clip against its mean opinion score; agreement is a correlation."""

    name: str
    """As in the tables: "musicality" or "alignment"."""
    aspect: Aspect
    """Which of the model's two scores is compared."""
    label_field: str
    leaderboard_groups: tuple[LeaderboardGroup, ...] = ()
    """The leaderboard's columns; empty for one over all rows."""
    scale: Scale | None = MOS_RANGE
    """What a label can be; None for any finite number."""


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
    share_field: str | None = None
    """Where a row says which share of its raters gave the most frequent answer."""
    leaderboard_groups: tuple[LeaderboardGroup, ...] = ()
    """The leaderboard's columns; empty for one over all rows."""


Task = MosTask | PairTask


@dataclass(frozen=True)
class Grouping:
    """A way to group a dataset's rows in the detail table, the same for all its tasks."""

    key: str
    """The table's `group_key`."""
    switch: str
    """The setting of `MetricSettings` that makes these groups, such as "by_condition"."""
    label: Callable[[Raw], str | None]
    """The group of a row: the table's `group_value`; None for a row in no group."""
    values: tuple[str, ...] = ()
    """All groups in the table's order, with rows or without; empty for those that rows have, in alphabetical order."""


@dataclass(frozen=True)
class TaskGrouping:
    """A way to group a dataset's rows by task, where each group is also split in two or more categories."""

    key: str
    switch: str
    label: Callable[[Raw, Task], str | None]
    """The group of a row as a task sees it; None for a row in no group."""
    category: Callable[[Raw], str]
    """The category of a row: the table's `ref_category`."""
    categories: tuple[str, ...]
    """In the table's order; `ALL_CATEGORIES`, for the whole group, follows them."""


ALL_CATEGORIES = "all"


class MiniPart(NamedTuple):
    """A dataset's part of the mini benchmark."""

    build: str
    """The function that returns a `data.synthetic.labels.MiniSplit` of it as a `Part`: "package.module:function"."""
    rows: int
    """Rows of split "test" in it."""
    position: int
    """Its place in the rows' file."""


@dataclass(frozen=True)
class Dataset:
    """One of the benchmark's test sets."""

    name: str
    """As in results and tables. Letters, digits, `_`, `.`, `-` and spaces, as it is part of names in MLflow."""
    slug: str
    """As in `subset=` and in file names."""
    tasks: tuple[Task, ...]
    """In the tables' order."""
    owns_source: Callable[[str], bool]
    """Whether a row with this `source` belongs to the dataset."""
    owns_path: Callable[[str], bool] = lambda path: False
    """Whether a results row of unknown source belongs to it, as one of its clips has this path."""
    prompt_of: Callable[[Raw], Any] = lambda raw: raw.get(fields.PROMPT)
    """The prompt of a row, which rows that depend on each other share; empty where the row does not say."""
    systems_of: Callable[[Raw], tuple[Any, Any]] = lambda raw: (raw.get(fields.SYSTEM_A), raw.get(fields.SYSTEM_B))
    """The systems that made clip A and clip B of a row; empty where the row does not say."""
    groupings: tuple[Grouping | TaskGrouping, ...] = ()
    """In the detail table's order."""
    heading: str = ""
    """Over its columns in the leaderboard; empty for `name`."""
    has_human_ceiling: bool = False
    """Whether the paper reports how well people agree with each other on its columns."""
    rows: int | None = None
    """Rows of split "test" in the whole benchmark; None where that is not known."""
    mini: MiniPart | None = None
    audio_source: str = ""
    """The function of `cmi_bench.download` that says where its audio comes from, as "package.module:function" (see
    `download.sources`); empty for a dataset whose audio is there already."""
    is_own: bool = False
    """Whether it is a table of the user's own; see `data.declarations`."""

    @property
    def is_paired(self) -> bool:
        """Whether a row compares two clips."""
        return any(isinstance(task, PairTask) for task in self.tasks)

    @property
    def table_heading(self) -> str:
        """Heading in the leaderboard."""
        return self.heading or self.name

    def expected_rows(self, data: str) -> int | None:
        """Return how many rows of split "test" a configuration of the `data` group has, None where nobody knows."""
        if data == MINI:
            return self.mini.rows if self.mini is not None else None
        return self.rows if data == BENCHMARK else None


BENCHMARK, MINI = "benchmark", "mini"
"""Names of the `data` group's configurations whose rows are known."""

_NAME = re.compile(r"[\w.\- ]+", re.ASCII)
_datasets: dict[str, Dataset] = {}
"""By slug, in the tables' order."""


def register_dataset(dataset: Dataset) -> Dataset:
    """Add a dataset to the benchmark, behind those that are there.

    Raises:
        ValueError: Its name or slug is taken or cannot be a name, it has no task, or a grouping's switch is no
            setting of `MetricSettings`.
    """
    if any(dataset.name == other.name or dataset.slug == other.slug for other in _datasets.values()):
        raise ValueError(f"There is a dataset {dataset.name!r} or {dataset.slug!r} already.")
    _check(dataset)
    _datasets[dataset.slug] = dataset
    return dataset


def _check(dataset: Dataset) -> None:
    for name in (dataset.name, dataset.slug, *(task.name for task in dataset.tasks)):
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} cannot be a name: use letters, digits, '_', '.', '-' and spaces.")
    if not dataset.tasks:
        raise ValueError(f"{dataset.name} has no task.")
    settings = {field.name for field in dataclasses.fields(MetricSettings)}
    for grouping in dataset.groupings:
        if grouping.switch not in settings:
            raise ValueError(f"{grouping.switch!r} is no setting. {did_you_mean(grouping.switch, settings)}")


def register_own(dataset: Dataset) -> Dataset:
    """Add a dataset of the user's own behind the others, in the place of an earlier one of the same name.

    Raises:
        UserError: The benchmark, or an installed package, has a dataset of that name.
    """
    for other in _datasets.values():
        if not other.is_own and (dataset.name == other.name or dataset.slug == other.slug):
            raise UserError(f"There is a dataset {other.name} already.", "Choose another name: data.name=my_songs.")
    _check(dataset)
    _datasets[dataset.slug] = dataset
    return dataset


def all_datasets() -> tuple[Dataset, ...]:
    """Return the datasets in the tables' order."""
    return tuple(_datasets.values())


def dataset_by_slug(slug: str) -> Dataset:
    """Return the dataset named in `subset=`.

    Raises:
        UserError: No dataset has that slug.
    """
    try:
        return _datasets[slug]
    except KeyError:
        raise UserError(f"There is no dataset {slug!r} (subset.datasets).", did_you_mean(slug, _datasets)) from None


def dataset_by_name(name: str) -> Dataset | None:
    """Return the dataset of that name in results and tables, None if none has it."""
    return next((dataset for dataset in _datasets.values() if dataset.name == name), None)


OWN_SOURCE = "own:"
"""Start of the `source` of rows of the user's own; the dataset's name follows."""


def dataset_of_source(source: str) -> Dataset | None:
    """Return the dataset that a row's `source` belongs to, None if to none of them."""
    if source.startswith(OWN_SOURCE):  # others may own whatever holds their name
        return dataset_by_name(source.removeprefix(OWN_SOURCE))
    return next((dataset for dataset in _datasets.values() if dataset.owns_source(source)), None)


def dataset_of_row(raw: Raw) -> Dataset | None:
    """Return the dataset of a results row: by its source, else its audio paths, else `benchmark_dataset`."""
    if (dataset := dataset_of_source(str(raw.get(fields.SOURCE, "")))) is not None:
        return dataset
    paths = [str(raw.get(field) or "").strip() for field in (fields.AUDIO_A, fields.AUDIO_B)]
    by_path = (dataset for dataset in _datasets.values() if any(dataset.owns_path(path) for path in paths))
    return next(by_path, None) or dataset_by_name(str(raw.get(fields.BENCHMARK_DATASET, "")).strip())


PAM_FOLDER = ("human_eval", "music")


def _pam_systems(raw: Raw) -> tuple[Any, Any]:
    """Return the folder below `human_eval/music`, where the row names no system."""
    parts = PurePosixPath(str(raw.get(fields.AUDIO_A) or "").strip()).parts
    named = raw.get(fields.SYSTEM_A)
    for start in range(len(parts) - len(PAM_FOLDER) - 1):
        if is_missing(named) and parts[start : start + len(PAM_FOLDER)] == PAM_FOLDER:
            named = parts[start + len(PAM_FOLDER)]
    return named, None


PAM = register_dataset(
    Dataset(
        name="PAM",
        slug="pam",
        tasks=(
            MosTask("musicality", Aspect.MUSICALITY, fields.MUSICALITY_MOS),
            MosTask("alignment", Aspect.ALIGNMENT, fields.ALIGNMENT_MOS),
        ),
        owns_source=lambda source: "PAM" in source,
        systems_of=_pam_systems,
        rows=500,
        mini=MiniPart("cmi_bench.data.synthetic.mos_sets:build_pam", rows=30, position=2),
        audio_source="cmi_bench.download.sources:pam_source",
    )
)

_MUSIC_EVAL_NAME = re.compile(r"S(?P<system>\d+)_P(?P<prompt>\d+)", re.IGNORECASE)


def _music_eval_name(raw: Raw, part: str) -> str | None:
    """Return what a file's original name says; the benchmark's own names, such as 12.wav, say nothing."""
    name = raw.get(fields.ORIGINAL_NAME) or raw.get(fields.AUDIO_A) or ""
    found = _MUSIC_EVAL_NAME.search(PurePosixPath(str(name).strip()).name)
    return None if found is None else found[part]


def _music_eval_prompt(raw: Raw) -> Any:
    written = raw.get(fields.PROMPT)
    return _music_eval_name(raw, "prompt") if is_missing(written) else written


def _music_eval_systems(raw: Raw) -> tuple[Any, Any]:
    named = raw.get(fields.SYSTEM_A)
    return (_music_eval_name(raw, "system") if is_missing(named) else named), None


MUSIC_EVAL = register_dataset(
    Dataset(
        name="MusicEval",
        slug="musiceval",
        tasks=(MosTask("musicality", Aspect.MUSICALITY, fields.MUSICALITY_MOS),),
        owns_source=lambda source: source in {"MusicEval", "SongEval"},
        prompt_of=_music_eval_prompt,
        systems_of=_music_eval_systems,
        rows=413,
        mini=MiniPart("cmi_bench.data.synthetic.mos_sets:build_music_eval", rows=25, position=3),
        audio_source="cmi_bench.download.sources:music_eval_source",
    )
)

MONTHS_FOLDER = ("MusicArena_data", "audio_files")
UNKNOWN_MONTH = "unknown"


def _month_in(path: str) -> str | None:
    parts = PurePosixPath(path).parts
    if MONTHS_FOLDER[0] in parts:
        # The month is the folder two below; what follows it must be a file's name.
        position = parts.index(MONTHS_FOLDER[0]) + len(MONTHS_FOLDER)
        if position + 1 < len(parts):
            return parts[position]
    return None


def month_of(raw: Raw) -> str:
    """Return the month a MusicArena row was collected in, e.g. "01-2025JULAUG"; "unknown" if no path says it."""
    months = (_month_in(str(raw.get(field) or "").strip()) for field in (fields.AUDIO_A, fields.AUDIO_B))
    return next((month for month in months if month is not None), UNKNOWN_MONTH)


MUSIC_ARENA = register_dataset(
    Dataset(
        name="MusicArena",
        slug="music_arena",
        # The arena asked which song is better as a whole, which is closest to musicality: only that score decides.
        tasks=(PairTask("preference", Aspect.MUSICALITY, fields.PREFERENCE, fields.PREDICTED_PREFERENCE),),
        owns_source=lambda source: "Music Arena" in source,
        owns_path=lambda path: _month_in(path) is not None,
        groupings=(Grouping("month", "by_month", month_of),),
        heading="Music Arena",
        rows=1340,
        mini=MiniPart("cmi_bench.data.synthetic.pair_sets:build_music_arena", rows=29, position=4),
        audio_source="cmi_bench.download.sources:music_arena_source",
    )
)

CONDITIONS = ("text", "text+lyrics", "text+ref", "text+lyrics+ref")
"""The four of CMI-Pref, as the public tables spell them."""
NO_REF, REF = "no_ref", "ref"
INSTRUMENTAL, VOCAL = "instru", "vocal"
MIDDLE_CONFIDENCE = 3.0
"""Of the scale from 1 to 5."""


def condition_of(raw: Raw) -> str:
    """Return what the instruction of a row consists of.

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


def confidence_level(value: Any) -> str | None:
    """Return "<3", "=3" or ">3"; None where the annotator gave no number."""
    try:
        confidence = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    if math.isnan(confidence):
        return None
    sign = "<" if confidence < MIDDLE_CONFIDENCE else ">" if confidence > MIDDLE_CONFIDENCE else "="
    return f"{sign}{MIDDLE_CONFIDENCE:g}"


def _reference_group(raw: Raw) -> str | None:
    return {True: REF, False: NO_REF, None: None}[has_reference(condition_of(raw))]


def _lyrics_group(raw: Raw) -> str | None:
    return {True: VOCAL, False: INSTRUMENTAL, None: None}[has_lyrics(condition_of(raw))]


def _confidence_group(raw: Raw, task: Task) -> str | None:
    if not isinstance(task, PairTask) or task.confidence_field is None:
        return None
    return confidence_level(raw.get(task.confidence_field))


CMI_PREF = register_dataset(
    Dataset(
        name="CMI-Pref",
        slug="cmi_pref",
        tasks=(
            PairTask(
                "alignment",
                Aspect.ALIGNMENT,
                fields.PREFERENCE_ALIGNMENT,
                fields.PREDICTED_PREFERENCE_ALIGNMENT,
                fields.CONFIDENCE_ALIGNMENT,
                leaderboard_groups=(
                    LeaderboardGroup("T", "T", "modality", "text", rows=125),
                    LeaderboardGroup("L", "L", "modality", "text+lyrics", rows=125),
                    LeaderboardGroup("A", "A", "modality", "text+ref", rows=125),
                    LeaderboardGroup("C", "C", "modality", "text+lyrics+ref", rows=125),
                    LeaderboardGroup("without_audio", "w/o audio", "ref_subset", NO_REF, rows=250),
                    LeaderboardGroup("with_audio", "w/ audio", "ref_subset", REF, rows=250),
                ),
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
        groupings=(
            Grouping("modality", "by_condition", condition_of),
            TaskGrouping(
                "confidence",
                "by_confidence",
                _confidence_group,
                category=lambda raw: _reference_group(raw) or NO_REF,
                categories=(NO_REF, REF),
            ),
            Grouping("ref_subset", "by_reference", _reference_group, values=(NO_REF, REF)),
            Grouping("modality_type", "by_lyrics", _lyrics_group, values=(INSTRUMENTAL, VOCAL)),
        ),
        has_human_ceiling=True,
        rows=500,
        mini=MiniPart("cmi_bench.data.synthetic.pair_sets:build_cmi_pref", rows=36, position=1),
        audio_source="cmi_bench.download.sources:cmi_pref_source",
    )
)
