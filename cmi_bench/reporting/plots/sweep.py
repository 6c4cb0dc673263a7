"""Metrics along a sweep: by training step, or job by job."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from cmi_bench.reporting.plots.palette import Colour
from cmi_bench.reporting.plots.plot import Plot, draw_plot, light_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 3
PANEL_INCHES = 2.6


class SweepPoint(NamedTuple):
    """One job in a panel."""

    at: float
    """Training step, or the job's place."""
    value: float
    low: float | None
    """Ends of the interval; None where there is none."""
    high: float | None


class SweepPanel(NamedTuple):
    """One metric of one task."""

    title: str
    points: Sequence[SweepPoint]


def sweep_plot(panels: Sequence[SweepPanel], *, labels: Sequence[str] | None, name: str, alt: str) -> Plot:
    """Draw a panel for each metric, values with their intervals from left to right.

    Args:
        panels: At least one.
        labels: The jobs by their place; None where points are at training steps.
        name: File stem.
        alt: Text alternative.
    """
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)

    def draw(figure: "Figure") -> None:
        axes_of = figure.subplots(rows, columns, sharex=True, squeeze=False).flatten()
        for axes, panel in zip(axes_of, panels, strict=False):
            _draw_panel(axes, panel, labels)
        for axes in axes_of[len(panels) :]:
            axes.axis("off")
        for axes in axes_of[max(len(panels) - columns, 0) : len(panels)]:
            axes.tick_params(labelbottom=True)
            axes.set_xlabel("step" if labels is None else "")

    return draw_plot(name, alt, draw, height=0.5 + 1.9 * rows, width=PANEL_INCHES * max(columns, 2))


def _draw_panel(axes: "Axes", panel: SweepPanel, labels: Sequence[str] | None) -> None:
    points = sorted(panel.points)
    for point in points:
        if point.low is not None and point.high is not None:
            axes.plot([point.at, point.at], [point.low, point.high], color=Colour.FIRST.value, linewidth=1.2, alpha=0.6)
    # Jobs that are no steps of one training have nothing between them.
    axes.plot(
        [point.at for point in points],
        [point.value for point in points],
        color=Colour.FIRST.value,
        marker="o",
        markersize=4,
        linewidth=1.2,
        linestyle="-" if labels is None else "none",
    )
    if labels is not None:
        axes.set_xticks(range(len(labels)), labels, rotation=40, ha="right")
        axes.set_xlim(-0.5, len(labels) - 0.5)
    axes.set_title(panel.title, loc="left", fontsize=9)
    light_frame(axes, grid="y")
