"""Values with their intervals, one below the other, in sections: accuracy by group, metrics by duration."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from cmi_bench.evaluation.exact import Bounds
from cmi_bench.reporting.plots.palette import Colour
from cmi_bench.reporting.plots.plot import Plot, draw_plot, light_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INCHES_A_LINE = 0.22
MARGIN_INCHES = 0.62


class ValueRow(NamedTuple):
    """One value."""

    label: str
    value: float
    bounds: Bounds | None
    """None where there is no interval."""
    n: int


class Section(NamedTuple):
    """Values that belong together."""

    heading: str
    rows: Sequence[ValueRow]


def interval_plot(
    sections: Sequence[Section],
    *,
    metric: str,
    name: str,
    alt: str,
    overall: ValueRow | None = None,
    neutral: float | None = None,
) -> Plot:
    """Draw sections of values, top to bottom, with n at the right.

    Args:
        sections: At least one row in all.
        metric: What the values are; labels the axis.
        name: File stem.
        alt: Text alternative.
        overall: The value of all rows together: a line with its interval as a band.
        neutral: The value of chance: a dashed line.
    """

    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        if neutral is not None:
            axes.axvline(neutral, color=Colour.MUTED.value, linewidth=0.8, linestyle=(0, (4, 3)))
        if overall is not None:
            _draw_overall(axes, overall)
        _draw_sections(axes, sections)
        axes.set_xlabel(metric)
        light_frame(axes, grid="x")
        axes.spines["left"].set_visible(False)

    lines = sum(1 + len(section.rows) for section in sections)
    return draw_plot(name, alt, draw, height=MARGIN_INCHES + INCHES_A_LINE * lines)


def _draw_overall(axes: "Axes", overall: ValueRow) -> None:
    if overall.bounds is not None:
        axes.axvspan(*overall.bounds, color=Colour.SECOND.value, alpha=0.14, linewidth=0)
    axes.axvline(overall.value, color=Colour.SECOND.value, linewidth=1.2)


def _draw_sections(axes: "Axes", sections: Sequence[Section]) -> None:
    at = 0
    ticks: list[tuple[int, str]] = []
    headings: list[int] = []
    for section in sections:
        headings.append(len(ticks))
        ticks.append((at, section.heading))
        for row in section.rows:
            at += 1
            ticks.append((at, row.label))
            _draw_row(axes, at, row)
        at += 1
    axes.set_yticks([place for place, _ in ticks], [label for _, label in ticks])
    for position, label in enumerate(axes.get_yticklabels()):
        label.set_color(Colour.INK.value)
        label.set_fontweight("bold" if position in headings else "normal")
    axes.set_ylim(at - 0.4, -0.6)


def _draw_row(axes: "Axes", at: int, row: ValueRow) -> None:
    if row.bounds is not None:
        axes.plot(row.bounds, [at, at], color=Colour.FIRST.value, linewidth=1.6)
    axes.plot(row.value, at, marker="o", markersize=4.5, color=Colour.FIRST.value)
    axes.annotate(
        f"{row.n:,}",
        (1.0, at),
        xycoords=("axes fraction", "data"),
        xytext=(3, 0),
        textcoords="offset points",
        va="center",
        color=Colour.MUTED.value,
        fontsize=7.5,
    )
