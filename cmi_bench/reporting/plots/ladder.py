"""The change of scores along each kind of damage."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cmi_bench.evaluation.ladder import LadderResult
from cmi_bench.reporting.plots.palette import Colour
from cmi_bench.reporting.plots.plot import Plot, draw_plot, light_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 4
PANEL_INCHES = 2.0
STYLES = ((Colour.FIRST, "o", -0.08), (Colour.SECOND, "s", 0.08))
"""Colour, marker and shift to the side for each judgement: they can be told apart without colours."""


def ladder_plot(results: Sequence[LadderResult], *, name: str, alt: str) -> Plot:
    """Draw a panel for each kind: mean change and standard deviation by step, one series a judgement.

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


def _draw_kind(axes: "Axes", kind: str, results: Sequence[LadderResult]) -> None:
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
            label=str(result.judgement),
        )
    axes.set_xticks(list(labels), list(labels.values()), rotation=40, ha="right")
    axes.set_xlim(0.4, max(labels) + 0.6)
    axes.set_title(kind, loc="left", fontsize=9)
    light_frame(axes, grid="y")
