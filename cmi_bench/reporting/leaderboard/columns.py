"""The columns of the paper's two tables: what they are called, and where an evaluation has them."""

from collections.abc import Sequence
from dataclasses import dataclass

from cmi_bench.data.datasets import CMI_PREF, MUSIC_ARENA, MUSIC_EVAL, PAM, Dataset
from cmi_bench.evaluation.metrics import ACC, K_TAU, LCC, SRCC


@dataclass(frozen=True)
class Column:
    """One column of figures."""

    key: str
    """As in the files of reported figures."""
    heading: str
    """The dataset's name in the table, over its columns."""
    name: str
    """Below it."""
    dataset: Dataset
    task: str
    metric: str
    rows: int
    """How many rows the reported figures are over: the whole test set's."""
    group_key: str = ""
    """Of the detail table; empty for the summary's figure."""
    group_value: str = ""

    @property
    def is_percent(self) -> bool:
        """Accuracies are shown in percent, correlations as they stand."""
        return self.metric == ACC


@dataclass(frozen=True)
class TableForm:
    """One of the paper's tables."""

    slug: str
    title: str
    columns: Sequence[Column]

    @property
    def ceiling(self) -> Sequence[Column]:
        """The columns that the human ceiling is over, all together."""
        return [column for column in self.columns if column.dataset is CMI_PREF]


PAM_ROWS, MUSIC_EVAL_ROWS, MUSIC_ARENA_ROWS, CMI_PREF_ROWS = 500, 413, 1340, 500
CMI_PREF_CONDITION_ROWS = 125


def _correlations(prefix: str, heading: str, dataset: Dataset, task: str, rows: int) -> list[Column]:
    keys = {LCC: "LCC", SRCC: "SRCC", K_TAU: "KTau"}
    return [Column(f"{prefix}_{key}", heading, name, dataset, task, name, rows) for name, key in keys.items()]


def _cmi_pref_group(key: str, name: str, rows: int, group_key: str, group_value: str) -> Column:
    return Column(f"CMIPref_{key}_percent", "CMI-Pref", name, CMI_PREF, "alignment", ACC, rows, group_key, group_value)


MUSICALITY = TableForm(
    "musicality",
    "Musicality",
    (
        *_correlations("PAM", "PAM", PAM, "musicality", PAM_ROWS),
        *_correlations("MusicEval", "MusicEval", MUSIC_EVAL, "musicality", MUSIC_EVAL_ROWS),
        Column("MusicArena_ACC_percent", "Music Arena", ACC, MUSIC_ARENA, "preference", ACC, MUSIC_ARENA_ROWS),
        Column("CMIPref_ACC_percent", "CMI-Pref", ACC, CMI_PREF, "musicality", ACC, CMI_PREF_ROWS),
    ),
)
ALIGNMENT = TableForm(
    "alignment",
    "Alignment",
    (
        *_correlations("PAM", "PAM", PAM, "alignment", PAM_ROWS),
        _cmi_pref_group("T", "T", CMI_PREF_CONDITION_ROWS, "modality", "text"),
        _cmi_pref_group("L", "L", CMI_PREF_CONDITION_ROWS, "modality", "text+lyrics"),
        _cmi_pref_group("A", "A", CMI_PREF_CONDITION_ROWS, "modality", "text+ref"),
        _cmi_pref_group("C", "C", CMI_PREF_CONDITION_ROWS, "modality", "text+lyrics+ref"),
        _cmi_pref_group("without_audio", "w/o audio", 2 * CMI_PREF_CONDITION_ROWS, "ref_subset", "no_ref"),
        _cmi_pref_group("with_audio", "w/ audio", 2 * CMI_PREF_CONDITION_ROWS, "ref_subset", "ref"),
    ),
)
TABLES = (MUSICALITY, ALIGNMENT)
