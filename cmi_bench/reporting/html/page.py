"""`report.html`: one run's evaluation as a page that needs nothing but itself and the audio beside it."""

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from cmi_bench.config import Clustering, MetricSettings, ProtocolName
from cmi_bench.evaluation.evaluate import DetailRecord, Measurement, SummaryRecord
from cmi_bench.evaluation.metrics import all_metrics
from cmi_bench.reporting.format import interval_notes, percent_name
from cmi_bench.reporting.html.embedded import EmbeddedAudio
from cmi_bench.reporting.html.format import (
    Fact,
    PageCell,
    PageTable,
    ReportSource,
    count,
    interval_text,
    key_name,
    main_metric,
    metric_text,
    render_page,
    value_name,
)
from cmi_bench.reporting.html.mistakes import mistake_lists
from cmi_bench.reporting.html.sections import (
    FigureSection,
    duration_section,
    group_section,
    margin_section,
    scatter_section,
    spread_section,
)
from cmi_bench.reporting.html.uncertainty import uncertainty_section
from cmi_bench.reporting.plots import write_png
from cmi_bench.reporting.raters import rater_notes
from cmi_bench.tracking.metadata import look_up
from cmi_bench.utils.files import write_text_atomic

SECTIONS: Sequence[Callable[[ReportSource], FigureSection | None]] = (
    scatter_section,
    margin_section,
    uncertainty_section,
    group_section,
    duration_section,
    spread_section,
)
"""In the page's order; one that returns None has nothing to say of a run."""
PAGE_FILE = "report.html"
AUDIO_PAGE_FILE = "report_with_audio.html"
PLOTS_FOLDER = "plots"


def write_page(source: ReportSource, folder: Path, *, with_audio: bool = False) -> list[Path]:
    """Write `report.html`, and its plots as `plots/<name>.png`.

    The same evaluation gives the same bytes.

    Args:
        source: What to report on.
        folder: The run's folder; links to audio are relative to it.
        with_audio: Also write `report_with_audio.html`, with the start of the clips within it.

    Returns:
        The pages, and the plots' folder where there are plots.
    """
    sections = [section for make in SECTIONS if (section := make(source)) is not None]
    plots = [figure.plot for section in sections for figure in section.figures]
    for plot in plots:
        write_png(plot, folder / PLOTS_FOLDER)
    pages = [write_text_atomic(folder / PAGE_FILE, page_html(source, sections, folder))]
    if with_audio:
        playable = replace(source, embedded=EmbeddedAudio())
        pages.append(write_text_atomic(folder / AUDIO_PAGE_FILE, page_html(playable, sections, folder)))
    return [*pages, *([folder / PLOTS_FOLDER] if plots else [])]


def page_html(source: ReportSource, sections: list[FigureSection], folder: Path) -> str:
    """Return the page's text.

    Args:
        source: What to report on.
        sections: Its plots.
        folder: Where the page will be.
    """
    evaluation = source.evaluation
    return render_page(
        "page.html.j2",
        label=source.label,
        subtitle=subtitle(source),
        tiles=tiles(evaluation.summary),
        summary=summary_table(evaluation.summary),
        detail=detail_table(evaluation.detail),
        detail_title=detail_title(len(evaluation.detail)),
        notes=[
            *rater_notes(evaluation.raters),
            *evaluation.notes,
            *interval_notes((record.dataset, record.intervals) for record in evaluation.summary),
        ],
        sections=sections,
        mistakes=mistake_lists(source, folder),
        run_facts=run_facts(source.metadata or {}),
        version_facts=version_facts(source.metadata or {}),
        evaluation_facts=evaluation_facts(evaluation.settings),
    )


PROTOCOLS = {
    ProtocolName.strict: "strict: a tie is the answer "
    "\N{LEFT DOUBLE QUOTATION MARK}both\N{RIGHT DOUBLE QUOTATION MARK}; failed pairs score 0 and are counted; "
    "rows without a label are left out and counted",
    ProtocolName.paper: "paper: as the public evaluator; ties count as B, rows without label or prediction are dropped",
}
FROM_METADATA: Sequence[tuple[str, Sequence[str]]] = (
    ("started (UTC)", ("started",)),
    ("model", ("model", "name")),
    ("class", ("model", "class")),
    ("weights", ("model", "digest")),
    ("checkpoint", ("config", "model", "checkpoint")),
    ("device", ("device",)),
    ("precision", ("precision",)),
    ("seconds of a clip looked at", ("config", "max_dur")),
    ("seed", ("seed",)),
    ("clips scored", ("counts", "scored")),
    ("clips failed", ("counts", "failed")),
    ("wall time (s)", ("seconds", "wall")),
    ("rows' file (SHA-256)", ("data", "jsonl_sha256")),
    ("decoder", ("decoder",)),
    ("git commit", ("git", "commit")),
    ("uncommitted changes", ("git", "dirty")),
)
"""What is shown, and where it is in `metadata.json`."""


def run_facts(metadata: Mapping[str, Any]) -> list[Fact]:
    """Return what is known of a run; nothing where its metadata are empty."""
    return [
        *(
            Fact(name, _fact_text(value))
            for name, path in FROM_METADATA
            if (value := look_up(metadata, *path)) is not None
        ),
        *_command(metadata),
    ]


def subtitle(source: ReportSource) -> str:
    """Return on what and when the run was; empty without its metadata."""
    metadata = source.metadata or {}
    data, subset, started = (
        look_up(metadata, *path) for path in (("config", "data", "name"), ("config", "subset", "name"), ("started",))
    )
    where = f"on {data}" + (f"/{subset}" if subset and subset != "all" else "") if data else ""
    return ", ".join(part for part in (where, str(started)[:10] if started else "") if part)


def version_facts(metadata: Mapping[str, Any]) -> list[Fact]:
    """Return the versions of what computed the numbers."""
    versions = look_up(metadata, "versions")
    return [Fact(name, str(value)) for name, value in versions.items()] if isinstance(versions, Mapping) else []


INTERVALS = {
    Clustering.prompt: "for other prompts and the same systems, rows of a prompt being alike",
    Clustering.system: "for other systems and the same prompts, clips of a system being alike",
    Clustering.both: "for other prompts and other systems",
    Clustering.none: "for other rows like these, none being alike",
}


def evaluation_facts(settings: MetricSettings) -> list[Fact]:
    """Return how the numbers were made."""
    intervals = f"{percent_name(settings.confidence)}, {INTERVALS[settings.cluster]}" if settings.resamples else "none"
    return [
        Fact("protocol", PROTOCOLS[settings.protocol]),
        Fact("split", settings.split),
        Fact("intervals", intervals),
    ]


def _command(metadata: Mapping[str, Any]) -> Iterator[Fact]:
    words = metadata.get("argv")
    if isinstance(words, list):
        yield Fact("command", "python " + shlex.join(map(str, words)))


def _fact_text(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


COUNTS = {
    "n_failed": "failed",
    "n_unlabelled": "no label",
    "n_tied_prediction": "predicted ties",
    "n_tied_label": "label ties",
}
"""Attributes of a record, and their columns."""


def summary_table(records: Sequence[SummaryRecord]) -> PageTable:
    """Return the table of all tasks."""
    return _table("All tasks", ("dataset", "task"), records, [(one.dataset, one.task) for one in records])


SHOWN_GROUPS = 1000
"""Lines of the page's table of groups at most; the detail table has all."""


def detail_table(records: Sequence[DetailRecord]) -> PageTable:
    """Return the table of all groups, or of those with the most rows."""
    shown = records
    if len(records) > SHOWN_GROUPS:
        largest = set(sorted(range(len(records)), key=lambda at: (-records[at].n, at))[:SHOWN_GROUPS])
        shown = [one for at, one in enumerate(records) if at in largest]
    names = [(one.dataset, one.task, key_name(one), value_name(one)) for one in shown]
    caption = "All groups" if shown is records else f"The {SHOWN_GROUPS:,} groups with the most rows"
    return _table(caption, ("dataset", "task", "group by", "group"), shown, names)


def detail_title(count: int) -> str:
    """Return what is said over the table of groups."""
    if count <= SHOWN_GROUPS:
        return f"The numbers of all groups ({count} lines)"
    return f"The numbers of the {SHOWN_GROUPS:,} groups with the most rows, of {count:,}: metrics_detail.csv has all"


def _table(
    caption: str, naming: Sequence[str], records: Sequence[Measurement], names: Sequence[Sequence[str]]
) -> PageTable:
    registered = (metric.name for metric in all_metrics())
    metrics = [name for name in registered if any(name in record.metrics for record in records)]
    counts = [name for name in COUNTS if any(getattr(record, name) for record in records)]
    notes = any(record.note for record in records)
    columns = [
        *(PageCell(name, "text") for name in naming),
        *map(PageCell, ("n", *metrics, *(COUNTS[name] for name in counts))),
        *([PageCell("note", "text")] if notes else []),
    ]
    rows = [
        [
            *(PageCell(name, "head" if place < 2 else "text") for place, name in enumerate(named)),
            PageCell(f"{record.n:,}"),
            *(_metric(record, name) for name in metrics),
            *(_count(getattr(record, name)) for name in counts),
            *([PageCell(record.note, "text")] if notes else []),
        ]
        for record, named in zip(records, names, strict=True)
    ]
    return PageTable(caption, columns, rows)


def _metric(record: Measurement, name: str) -> PageCell:
    return PageCell(metric_text(record, name), below=interval_text(record.intervals.get(name)))


def _count(value: int | None) -> PageCell:
    return PageCell("" if value is None else f"{value:,}")


class Tile(NamedTuple):
    """One number, large."""

    title: str
    metric: str
    value: str
    interval: str
    below: str
    warns: bool
    """Whether rows failed."""


def tiles(records: Sequence[SummaryRecord]) -> list[Tile]:
    """Return a tile for each task."""
    return [_tile(record) for record in records]


def _tile(record: SummaryRecord) -> Tile:
    metric = main_metric(record)
    failed = f", {record.n_failed:,} failed" if record.n_failed else ""
    return Tile(
        title=f"{record.dataset}, {record.task}",
        metric=metric,
        value=metric_text(record, metric),
        interval=interval_text(record.intervals.get(metric)),
        below=count(record.n, "row") + failed,
        warns=record.n_failed > 0,
    )
