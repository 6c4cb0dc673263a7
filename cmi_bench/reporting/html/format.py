"""What a report is made from, and how the page writes numbers and the names of groups."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from cmi_bench.data.datasets import INSTRUMENTAL, NO_REF, REF, VOCAL
from cmi_bench.evaluation.evaluate import DetailRecord, Evaluation, Measurement, Status
from cmi_bench.evaluation.groups import DURATION_KEY
from cmi_bench.evaluation.intervals import Interval
from cmi_bench.evaluation.metrics import metric_by_name
from cmi_bench.evaluation.proportions import Bounds
from cmi_bench.reporting.html.embedded import EmbeddedAudio
from cmi_bench.utils.console import printable

Item = TypeVar("Item")


@dataclass(frozen=True)
class ReportSource:
    """An evaluation with the rows it was made from."""

    evaluation: Evaluation
    results: Sequence[Mapping[str, Any]]
    """All rows that the evaluation was given, in its order."""
    label: str
    """The run's name."""
    audio_roots: Sequence[Path] = ()
    """What the rows' audio paths may be relative to, the likeliest first."""
    allow_outside: bool = False
    """Whether the page may link to audio outside of them."""
    metadata: Mapping[str, Any] | None = None
    """The run's `metadata.json`; None where there is none."""
    own_roots: Mapping[str, Path] = field(default_factory=dict)
    """By dataset, what the paths of tables of the user's own are relative to, where that is known."""
    embedded: EmbeddedAudio | None = None
    """Takes the audio into the page; None links to the files."""

    def roots_of(self, dataset: str) -> Sequence[Path]:
        """Return where the audio of a dataset may be, the likeliest first."""
        own = self.own_roots.get(dataset)
        return self.audio_roots if own is None else (own, *self.audio_roots)


def template_environment(module: str) -> Environment:
    """Return the environment of the templates beside a module; what they show is escaped, what they miss an error."""
    return Environment(
        loader=PackageLoader(module),
        autoescape=True,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )


def own_files(package: str, *names: str) -> Markup:
    """Return style sheets or scripts from a package's templates as they are: there is nothing in them to escape."""
    folder = files(package) / "templates"
    return Markup("\n".join((folder / name).read_text(encoding="utf-8") for name in names))


def _printable(value: Any) -> Any:
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def render_page(template: str, **content: Any) -> str:
    """Return the text of a page that has style sheet and script in it.

    Args:
        template: One of `templates/` that extends the frame.
        content: What it shows.
    """
    environment = template_environment(__name__)
    # Drawn by the project, so there is nothing in it to escape.
    environment.filters["drawing"] = Markup
    package = "cmi_bench.reporting.html"
    return environment.get_template(template).render(
        content, style=own_files(package, "style.css"), script=own_files(package, "theme.js", "page.js")
    )


class Fact(NamedTuple):
    """A name and what it stands for."""

    name: str
    value: str


class PageCell(NamedTuple):
    """One place of a table."""

    text: str
    kind: str = "number"
    """"head" (names the row), "text" or "number"."""
    below: str = ""
    """Smaller, on a line of its own: the interval."""
    link: str = ""
    """Address of what is told more of elsewhere; in a head only."""
    is_best: bool = False
    group: str = ""
    """Letters of a significance group."""


class PageTable(NamedTuple):
    """A table for the page."""

    caption: str
    columns: Sequence[PageCell]
    rows: Sequence[Sequence[PageCell]]


NO_VALUE = {Status.OK: "", Status.UNDEFINED: "undefined", Status.NOT_APPLICABLE: "not applicable"}
"""What stands in the place of a metric that the task has and that has no value."""
MINUS = "\N{MINUS SIGN}"


def number(value: float, digits: int = 3) -> str:
    """Return a number with a fixed count of decimals."""
    return f"{value:.{digits}f}".replace("-", MINUS)


def score(value: float) -> str:
    """Return a score or a difference of scores, on whatever scale, with four significant digits."""
    return f"{value:.4g}".replace("-", MINUS)


def telling_bounds(interval: Interval | None) -> Bounds | None:
    """Return the bounds to show; None where there are none, or where they tell nothing."""
    if interval is None or interval.low is None or interval.high is None or interval.is_flat:
        return None
    return Bounds(interval.low, interval.high)


def interval_text(interval: Interval | None) -> str:
    """Return an interval's bounds, or the reason why it has none."""
    if interval is None:
        return ""
    found = telling_bounds(interval)
    if found is None:
        return interval.reason or "no interval: the same in every resample"
    return f"[{number(found.low)}, {number(found.high)}]"


def metric_text(record: Measurement, metric: str) -> str:
    """Return a record's value of a metric; nothing where the task does not have it."""
    if metric not in record.metrics:
        return ""
    value = record.metrics[metric]
    return NO_VALUE[record.status] if value is None else number(value)


def with_interval(record: Measurement, metric: str) -> str:
    """Return a value for a sentence, with its interval if it has one; of systems' means, how many systems there are."""
    interval = record.intervals.get(metric)
    if interval is not None and metric_by_name(metric).is_of_systems:
        return f"{metric_text(record, metric)} ({count(interval.n_clusters, 'system')})"
    bounds = interval_text(interval) if telling_bounds(interval) is not None else ""
    return f"{metric_text(record, metric)} {bounds}".rstrip()


def main_metric(record: Measurement) -> str:
    """Return the name of the metric that stands for a record: the first it has."""
    return next(iter(record.metrics))


def count(n: int, noun: str) -> str:
    """Return "1 pair", "1,340 pairs"."""
    return f"{n:,} {noun}" + "s" * (n != 1)


def evenly_spaced(items: Sequence[Item], most: int) -> list[Item]:
    """Return up to `most` items, two or more, in their order: the first, the last, and others evenly between.

    >>> evenly_spaced("abcdefg", 3)
    ['a', 'd', 'g']
    """
    if len(items) <= most:
        return list(items)
    return [items[round(at * (len(items) - 1) / (most - 1))] for at in range(most)]


KEYS = {
    "month": "month",
    "modality": "instruction",
    "confidence": "annotator's confidence",
    "ref_subset": "reference audio",
    "modality_type": "lyrics",
    DURATION_KEY: "clip length",
}
VALUES = {
    ("ref_subset", NO_REF): "without",
    ("ref_subset", REF): "with",
    ("modality_type", INSTRUMENTAL): "without",
    ("modality_type", VOCAL): "with",
}
CATEGORIES = {NO_REF: ", no reference", REF: ", reference"}


def key_name(record: DetailRecord) -> str:
    """Return what the group's rows have in common."""
    return KEYS.get(record.group_key, record.group_key)


def value_name(record: DetailRecord) -> str:
    """Return which of the groups it is."""
    value = VALUES.get((record.group_key, record.group_value), record.group_value)
    unit = " s" if record.group_key == DURATION_KEY else ""
    return value + unit + CATEGORIES.get(record.ref_category or "", "")
