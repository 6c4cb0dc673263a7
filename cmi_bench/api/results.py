"""What an evaluation came to, for those who work in Python: shown, as a table of pandas, and as files."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cmi_bench.evaluation.evaluate import Evaluation
from cmi_bench.reporting.metrics import write_reports
from cmi_bench.reporting.notebook import evaluation_html

if TYPE_CHECKING:
    from typing import Self

    import pandas as pd

    from cmi_bench.evaluation.evaluate import Measurement
    from cmi_bench.evaluation.intervals import Interval


PLACE = ("dataset", "task")
GROUP = ("group_key", "group_value", "ref_category")
VALUES = ("metric", "value", "ci_low", "ci_high", "n", "n_failed", "status")


@dataclass(frozen=True, repr=False)
class Results(Evaluation):
    """An evaluation: `summary`, `detail`, `notes`, `settings` and `samples`, and forms to look at and to keep."""

    label: str = ""
    """The run's name, in titles and tables."""

    @classmethod
    def of(cls, evaluation: Evaluation, **more: Any) -> "Self":
        """Return an evaluation as results."""
        return cls(**{field.name: getattr(evaluation, field.name) for field in fields(Evaluation)}, **more)

    @property
    def title(self) -> str:
        """What this is, in a few words."""
        return f"{type(self).__name__} of {self.label}" if self.label else type(self).__name__

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        return evaluation_html(self, self.title)

    def to_dataframe(self, *, groups: bool = False) -> "pd.DataFrame":
        """Return a table with a line for each dataset, task and metric.

        Args:
            groups: The groups' lines instead of the summary's, with `group_key`, `group_value` and `ref_category`.

        Returns:
            `dataset`, `task`, `metric`, `value`, `ci_low`, `ci_high`, `n`, `n_failed`, `status`. A value or an end of
            an interval that there is not is NaN; `status` says why ("undefined", "not applicable").
        """
        import pandas as pd

        records = self.detail if groups else self.summary
        columns = [*PLACE, *(GROUP if groups else ()), *VALUES]
        lines = [line for record in records for line in _lines(record)]
        return pd.DataFrame(lines, columns=columns).astype(dict.fromkeys(("value", "ci_low", "ci_high"), "float64"))

    def to_disk(self, folder: str | PathLike[str]) -> list[Path]:
        """Write the tables (CSV, JSON, LaTeX) that a run has in its folder.

        Args:
            folder: Where to; made if missing. Files of the same names are replaced.

        Returns:
            The files.

        Raises:
            OSError: The folder cannot be written to.
        """
        return list(write_reports(self, Path(folder), label=self.label))


@dataclass(frozen=True, repr=False, kw_only=True)
class RunResults(Results):
    """The results of a run, with what it scored."""

    folder: Path
    """Where the run's files are: results, tables, report.html, metadata."""
    rows: Sequence[Mapping[str, Any]]
    """The lines of `results.jsonl`: each row's own fields and its scores, such as `predicted_musicality`. Those of a
    large run are read from the file."""
    metadata: Mapping[str, Any]
    """What was run, on what, how long it took: as in `metadata.json`."""

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}\n  in {self.folder}>"

    def to_disk(self, folder: str | PathLike[str]) -> list[Path]:
        """Copy the run's files, without what only the run itself has use for.

        Args:
            folder: Where to; made if missing. Files of the same names are replaced.

        Returns:
            The files.

        Raises:
            OSError: The folder cannot be written to.
        """
        target = Path(folder)
        if target.resolve() != self.folder.resolve():
            shutil.copytree(self.folder, target, ignore=shutil.ignore_patterns(*OF_THE_RUN), dirs_exist_ok=True)
        return sorted(path for path in target.rglob("*") if path.is_file())


OF_THE_RUN = ("scores", "embeddings", "failures.rank*.jsonl")
"""What a run keeps in its folder for itself."""


def _lines(record: "Measurement") -> list[dict[str, Any]]:
    place = {name: getattr(record, name, None) for name in (*PLACE, *GROUP)}
    counts = {"n": record.n, "n_failed": record.n_failed, "status": str(record.status)}
    lines = []
    for metric, value in record.metrics.items():
        low, high = interval_ends(record.intervals.get(metric))
        lines.append({**place, "metric": metric, "value": value, "ci_low": low, "ci_high": high, **counts})
    return lines


def interval_ends(interval: "Interval | None") -> tuple[float | None, float | None]:
    """Return the ends of an interval; None where there is none."""
    return (None, None) if interval is None else (interval.low, interval.high)
