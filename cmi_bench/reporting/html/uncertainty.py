"""The page's section on an ensemble's spread: does it foretell errors, and what do the surest rows come to?"""

from collections.abc import Sequence

from cmi_bench.evaluation.uncertainty import (
    Foretold,
    Sign,
    SignedRows,
    UncertaintyRecord,
    kept_outcome,
    signed_rows,
    spread_bins,
)
from cmi_bench.reporting.format import percent_name
from cmi_bench.reporting.html.charts import MOST_KEPT, KeptCurve, kept_plot, spread_plot
from cmi_bench.reporting.html.format import PageCell, PageTable, ReportSource, count, interval_text, number
from cmi_bench.reporting.html.sections import Figure, FigureSection, task_stem
from cmi_bench.reporting.uncertainty import SIGN_NAMES

LEAD = (
    "Is the model wrong where its members differ? The spread is the standard deviation over the members: of a clip's "
    "score, or of a pair's margin, with each member's scores divided by their standard deviation over the task. "
    "AUROC is the probability that a wrong answer has a larger spread (a smaller margin) than a right one, 0.5 if it "
    "carries nothing; the gain is that of the margin measured in spreads over the margin alone, which needs no "
    "ensemble. SRCC is that of a clip's spread with the distance between its standings by the model and by people, 0 "
    "if it carries nothing. Dots are bins of equal number (accuracies with {confidence} intervals); curves are over "
    "the rows that remain when the most doubtful ones are left out."
)


def uncertainty_section(source: ReportSource) -> FigureSection | None:
    """Return the table, and two plots for each task; None where the model is no ensemble."""
    evaluation = source.evaluation
    if not evaluation.uncertainty:
        return None
    confidence = percent_name(evaluation.settings.confidence)
    rows = (signed_rows(samples) for samples in evaluation.samples)
    return FigureSection(
        "uncertainty",
        "Spread of the ensemble",
        "Uncertainty",
        LEAD.format(confidence=confidence),
        [figure for one in rows if one is not None for figure in (_by_spread(one, source), _surest(one))],
        table=_table(evaluation.uncertainty),
    )


def _table(records: Sequence[UncertaintyRecord]) -> PageTable:
    has_pairs = any(record.gain is not None for record in records)
    signs = [sign for sign in Sign if any(sign in record.signs for record in records)]
    columns = [
        *(PageCell(name, "text") for name in ("dataset", "task")),
        *map(PageCell, ("members", "n", *(["wrong"] if has_pairs else []), "statistic")),
        *map(PageCell, signs),
        *([PageCell("gain")] if has_pairs else []),
    ]
    rows = [
        [
            *(PageCell(name, "head") for name in (record.dataset, record.task)),
            *map(PageCell, (str(record.n_members), f"{record.n:,}")),
            *([PageCell("" if record.n_wrong is None else f"{record.n_wrong:,}")] if has_pairs else []),
            PageCell(record.statistic),
            *(_cell(record.signs.get(sign)) for sign in signs),
            *([_cell(record.gain)] if has_pairs else []),
        ]
        for record in records
    ]
    return PageTable("What foretells errors", columns, rows)


def _cell(found: Foretold | None) -> PageCell:
    if found is None:
        return PageCell("")
    if found.value is None:
        return PageCell("undefined", below=found.reason)
    return PageCell(number(found.value), below=interval_text(found.interval))


def _by_spread(rows: SignedRows, source: ReportSource) -> Figure:
    label, overall = _outcome(rows), float(rows.outcome.mean())
    bins = spread_bins(rows, source.evaluation.settings)
    ends = f"{number(bins[0].outcome)} at the smallest, {number(bins[-1].outcome)} at the largest"
    alt = f"{label.capitalize()} by spread: {ends}."
    name = task_stem("spread", rows.samples.dataset, rows.samples.task)
    caption = f"{count(rows.error.size, 'pair' if rows.is_pair else 'clip')}; dashes: all of them, {number(overall)}."
    return Figure(f"{_title(rows)}, by spread", caption, spread_plot(bins, overall, label=label, name=name, alt=alt))


def _surest(rows: SignedRows) -> Figure:
    label = _outcome(rows)
    curves = [KeptCurve(SIGN_NAMES[sign], kept_outcome(rows, sign)) for sign in rows.doubt]
    half = (rows.error.size - 1) // 2
    kept = ", ".join(f"{number(float(curve.outcome[half]))} by {curve.label}" for curve in curves)
    said = f"{label.capitalize()} of the surest half: {kept}; of all: {number(float(rows.outcome.mean()))}."
    if rows.error.size > MOST_KEPT:
        said += f" The curves are drawn at {MOST_KEPT:,} of the {rows.error.size:,} shares."
    name = task_stem("kept", rows.samples.dataset, rows.samples.task)
    return Figure(f"{_title(rows)}, the surest rows", said, kept_plot(curves, label=label, name=name, alt=said))


def _title(rows: SignedRows) -> str:
    return f"{rows.samples.dataset.name}, {rows.samples.task.name}"


def _outcome(rows: SignedRows) -> str:
    return "accuracy" if rows.is_pair else "mean distance from people"
