"""The robustness of a model's scores: how each kind of damage changes them, as CSV, JSON, table and plot."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from cmi_bench.evaluation.robustness import ALPHA, KindTrend, RobustnessResult, StepChange
from cmi_bench.reporting.format import csv_text, text_cell
from cmi_bench.reporting.plots import Colour, Plot, draw_plot, light_frame
from cmi_bench.utils.files import json_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


CAVEAT = (
    "The pieces are synthetic, and noise, clipping and lowpass are among the faults that model=signal was made to "
    "measure: its figures here show that the tool works, not how good a model is."
)
"""What has to be known where figures of robustness stand."""

STEP_COLUMNS = ("kind", "step", "severity", "aspect", "n", "mean_change", "sd_change", "share_lower")


def _steps(results: Sequence[RobustnessResult]) -> list[dict[str, Any]]:
    return [
        dict(zip(STEP_COLUMNS, change, strict=True)) | {"aspect": str(change.aspect), "kind": str(change.kind)}
        for result in results
        for change in result.changes
    ]


def sanity_csv(results: Sequence[RobustnessResult]) -> str:
    """Return the text of `sanity.csv`: a line for each step and aspect; a cell without a value is empty."""
    return csv_text(STEP_COLUMNS, _steps(results))


def sanity_json(results: Sequence[RobustnessResult]) -> str:
    """Return the text of `sanity.json`: the clean scores, the steps, and each kind's rank correlation and test."""
    document = {
        "clean": {str(result.aspect): list(result.clean) for result in results},
        "steps": _steps(results),
        "kinds": [
            {
                "kind": str(trend.kind),
                "aspect": str(trend.aspect),
                "rank_correlation": trend.correlation.value,
                "n": trend.n,
                "note": trend.correlation.reason,
                "p": trend.p,
                "p_holm": trend.p_holm,
                "falls": trend.falls,
            }
            for result in results
            for trend in result.trends
        ],
        "notes": [CAVEAT],
    }
    return json_text(document)


def sanity_view(results: Sequence[RobustnessResult], lowers: Mapping[str, str], *, title: str) -> RenderableType:
    """Return the table with what its columns mean below.

    Args:
        results: One for each aspect of the model, over the same steps.
        lowers: Which aspect a listener would lower, by kind.
        title: The model's name.
    """
    if not results:
        return Group(text_cell(title, style="bold"), text_cell("The model gave no clip a score."))
    n = len(results[0].clean)
    note = (
        f"Change from the clean clip, mean and standard deviation over {n} pieces; clean scores: "
        + "; ".join(f"{result.aspect} {_range(result.clean)}" for result in results)
        + ". rho: rank correlation of severity and score, mean over pieces; -1.00 where more damage always lowers it."
        f" *: scores fall (exact sign flips of the pieces, Holm-corrected over a column's kinds, alpha = {ALPHA:g};"
        " needs 8 pieces)."
    )
    return Group(text_cell(title, style="bold"), _table(results), *map(text_cell, (note, *_expected(lowers), CAVEAT)))


def _expected(lowers: Mapping[str, str]) -> list[str]:
    """Say what is to be expected, which is no result."""
    kinds_of: dict[str, list[str]] = {}
    for kind, aspect in lowers.items():
        kinds_of.setdefault(aspect, []).append(kind)
    parts = [f"{aspect} for {', '.join(kinds)}" for aspect, kinds in kinds_of.items()]
    return [f"A listener would lower {'; '.join(parts)}."] if parts else []


def _table(results: Sequence[RobustnessResult]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("kind", "step"):
        table.add_column(name, no_wrap=True)
    shows_n = len({change.n for result in results for change in result.changes}) > 1
    if shows_n:
        table.add_column("n", justify="right", no_wrap=True)
    for result in results:
        table.add_column(str(result.aspect), justify="right", no_wrap=True)
        table.add_column("rho", justify="right", no_wrap=True)
    last = None
    for row in zip(*(result.changes for result in results), strict=True):
        kind, step = row[0].kind, row[0].step
        is_first, last = kind != last, kind
        cells = [text_cell(kind if is_first else ""), text_cell(step), *([text_cell(str(row[0].n))] if shows_n else [])]
        for change, result in zip(row, results, strict=True):
            cells.append(text_cell(_change(change)))
            cells.append(text_cell(_trend(_trend_of(kind, result)) if is_first else ""))
        table.add_row(*cells)
    return table


def _trend_of(kind: str, result: RobustnessResult) -> KindTrend:
    return next(trend for trend in result.trends if trend.kind == kind)


def _trend(trend: KindTrend) -> str:
    value = "undef" if trend.correlation.value is None else f"{trend.correlation.value:+.2f}"
    return value + ("*" if trend.falls else " ")


def _change(change: StepChange) -> str:
    if change.mean is None:
        return "all failed"
    spread = "" if change.spread is None else f" ±{change.spread:.3f}"
    return f"{change.mean:+.3f}{spread}"


def _range(scores: Sequence[float]) -> str:
    return f"{min(scores):.3f} to {max(scores):.3f}" if scores else "none"


COLUMNS = 4
PANEL_INCHES = 2.0
STYLES = ((Colour.FIRST, "o", -0.08), (Colour.SECOND, "s", 0.08))
"""Colour, marker and shift to the side for each aspect: they can be told apart without colours."""


def robustness_plot(results: Sequence[RobustnessResult], *, name: str, alt: str) -> Plot:
    """Draw a panel for each kind: mean change and standard deviation by step, one series a aspect.

    Args:
        results: At least one, all over the same steps.
        name: File stem.
        alt: Text alternative.
    """
    kinds = list(dict.fromkeys(change.kind for change in results[0].changes))
    rows = -(-len(kinds) // COLUMNS)

    def draw(figure: "Figure") -> None:
        panels = figure.subplots(rows, COLUMNS, sharey=True, squeeze=False).flatten()
        for axes, kind in zip(panels, kinds, strict=False):
            _draw_kind(axes, kind, results)
        for axes in panels[len(kinds) :]:
            axes.axis("off")
        for axes in panels[::COLUMNS]:
            axes.set_ylabel("change of score")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=len(results))

    return draw_plot(name, alt, draw, height=0.4 + 2.2 * rows, width=PANEL_INCHES * COLUMNS)


def _draw_kind(axes: "Axes", kind: str, results: Sequence[RobustnessResult]) -> None:
    axes.axhline(0.0, color=Colour.MUTED.value, linewidth=0.8, linestyle=(0, (4, 3)))
    labels: dict[int, str] = {}
    for result, (colour, marker, shift) in zip(results, STYLES, strict=False):
        steps = [change for change in result.changes if change.kind == kind]
        labels |= {change.severity: change.step for change in steps}
        there = [change for change in steps if change.mean is not None]
        axes.errorbar(
            [change.severity + shift for change in there],
            [change.mean or 0.0 for change in there],
            yerr=[change.spread or 0.0 for change in there],
            color=colour.value,
            marker=marker,
            markersize=4,
            linewidth=1.2,
            label=str(result.aspect),
        )
    axes.set_xticks(list(labels), list(labels.values()), rotation=40, ha="right")
    axes.set_xlim(0.4, max(labels) + 0.6)
    axes.set_title(kind, loc="left", fontsize=9)
    light_frame(axes, grid="y")
