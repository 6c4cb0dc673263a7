"""What several raters of the same songs come to: sentences under the table, and `metrics_raters.csv`."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cmi_bench.evaluation.evaluate import Evaluation
from cmi_bench.evaluation.raters import FEWEST_ROWS, RaterRecord
from cmi_bench.reporting.format import bare, csv_text
from cmi_bench.utils.files import write_text_atomic

FILE = "metrics_raters.csv"
COLUMNS = (
    *("dataset", "task", "n_raters", "n_ratings", "n_rows", "alpha", "alpha_level"),
    *("metric", "one_rater", "model_alike", "n_raters_measured"),
)
"""`one_rater` against the others' mean or majority is the human ceiling, `model_alike` the model against the same."""


def rater_notes(records: Sequence[RaterRecord]) -> list[str]:
    """Return what is to be known of the raters of each task, in sentences."""
    return [note for record in records for note in _notes(record)]


def _notes(record: RaterRecord) -> Iterator[str]:
    place = f"{record.dataset} {record.task}"
    raters = "several raters without names" if record.n_raters is None else f"{record.n_raters} raters"
    value, reason = record.alpha
    agreement = f"undefined ({reason})" if value is None else bare(value)
    rows = "1 row" if record.n_rows == 1 else f"{record.n_rows} rows"
    yield (
        f"{place}: {raters}, {record.n_ratings} labels of {rows} that two or more judged."
        f" Their agreement: Krippendorff's alpha {agreement} ({record.level})."
    )
    measured = {name: one for name, one in record.ceilings.items() if one.human is not None}
    others = "majority" if record.level == "nominal" else "mean"
    if measured:
        people = ", ".join(f"{name} {bare(one.human)}" for name, one in measured.items() if one.human is not None)
        model = ", ".join(f"{name} {bare(one.model)}" for name, one in measured.items() if one.model is not None)
        alike = f" The model against the same: {model}." if model else ""
        yield f"{place}, human ceiling: one rater against the others' {others}: {people}.{alike}"
    elif record.ceilings:
        yield f"{place}: no human ceiling, as no rater shares {FEWEST_ROWS} rows with others."


def rater_cells(record: RaterRecord) -> dict[str, Any]:
    """Return a task's raters as plain values, with a list of what each metric comes to."""
    return {
        "dataset": record.dataset,
        "task": record.task,
        "n_raters": record.n_raters,
        "n_ratings": record.n_ratings,
        "n_rows": record.n_rows,
        "alpha": record.alpha.value,
        "alpha_level": record.level,
        "ceilings": [
            {"metric": name, "one_rater": one.human, "model_alike": one.model, "n_raters_measured": one.n_raters}
            for name, one in record.ceilings.items()
        ],
    }


def raters_csv(records: Sequence[RaterRecord]) -> str:
    """Return the text of `metrics_raters.csv`: a line for each metric of each task."""
    return csv_text(COLUMNS, (line for record in records for line in _lines(record)))


def _lines(record: RaterRecord) -> Iterator[Mapping[str, Any]]:
    cells = rater_cells(record)
    ceilings = cells.pop("ceilings")
    for ceiling in ceilings or [{}]:
        yield {**cells, **ceiling}


def write_raters(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Write `metrics_raters.csv` where rows have several raters; remove that of an earlier evaluation where not."""
    file = folder / FILE
    if evaluation.raters:
        return [write_text_atomic(file, raters_csv(evaluation.raters))]
    file.unlink(missing_ok=True)
    return []
