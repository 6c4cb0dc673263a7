"""The charts of a report: values with intervals, accuracy by margin, predicted against human scores, distributions."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy
from numpy.typing import NDArray

from cmi_bench.data.datasets import MosTask
from cmi_bench.data.fields import Scale
from cmi_bench.evaluation.calibration import MarginBin
from cmi_bench.evaluation.proportions import Bounds
from cmi_bench.evaluation.samples import Samples
from cmi_bench.evaluation.uncertainty import SpreadBin
from cmi_bench.reporting.plots import Colour, Plot, draw_plot, light_frame, plot_label

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
        ticks.append((at, plot_label(section.heading)))
        for row in section.rows:
            at += 1
            ticks.append((at, plot_label(row.label)))
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


CHANCE = 0.5


def margin_plot(bins: Sequence[MarginBin], beta: float | None, *, name: str, alt: str) -> Plot:
    """Draw each bin's accuracy with its bounds at its mean margin, and the curve that was fitted.

    Args:
        bins: Smallest margins first; at least one.
        beta: The scale; None draws no curve.
        name: File stem.
        alt: Text alternative.
    """

    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        # A scale that is all zeros (a constant model) still gets an axis.
        end = bins[-1].high or 1.0
        axes.axhline(CHANCE, color=Colour.MUTED.value, linewidth=0.8, linestyle=(0, (4, 3)))
        if beta is not None:
            margin = np.linspace(0.0, end, 120)
            curve = scipy.special.expit(beta * margin)
            axes.plot(margin, curve, color=Colour.SECOND.value, linewidth=1.6, label="Bradley-Terry, fitted")
        _draw_bins(axes, [(one.margin, one.accuracy, one.bounds) for one in bins], label="observed")
        axes.set(xlabel="margin (difference of the two scores)", ylabel="accuracy", xlim=(0, 1.03 * end))
        axes.set_ylim(min(0.4, *(low for one in bins for low in (one.bounds or (one.accuracy,)))) - 0.03, 1.03)
        axes.legend(loc="lower right")
        axes.tick_params(length=0)

    return draw_plot(name, alt, draw, height=3.0)


def spread_plot(bins: Sequence[SpreadBin], overall: float, *, label: str, name: str, alt: str) -> Plot:
    """Draw each bin's outcome with its bounds at its mean spread, and dashed that of all rows.

    Args:
        bins: Smallest spreads first; at least one.
        overall: Mean outcome of all rows.
        label: What the outcome is.
        name: File stem.
        alt: Text alternative.
    """

    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        axes.axhline(overall, color=Colour.MUTED.value, linewidth=0.8, linestyle=(0, (4, 3)))
        _draw_bins(axes, [(one.spread, one.outcome, one.bounds) for one in bins])
        axes.set(xlabel="spread over the members", ylabel=label)
        axes.set_xlim(0, 1.05 * bins[-1].spread or 1.0)
        axes.tick_params(length=0)

    return draw_plot(name, alt, draw, height=2.6)


def _draw_bins(axes: "Axes", bins: Sequence[tuple[float, float, Bounds | None]], *, label: str | None = None) -> None:
    """Draw the mean of each bin as a point with its bounds as a whisker; a bin is (place, mean, bounds)."""
    for place, _, bounds in bins:
        if bounds:
            axes.plot([place] * 2, bounds, color=Colour.FIRST.value, linewidth=1.2)
    axes.plot(
        [place for place, _, _ in bins],
        [mean for _, mean, _ in bins],
        linestyle="none",
        marker="o",
        markersize=5,
        color=Colour.FIRST.value,
        label=label,
    )


class KeptCurve(NamedTuple):
    """What is left when the most doubtful rows are left out."""

    label: str
    """What rows are doubtful by."""
    outcome: NDArray[np.float64]
    """[n] mean outcome of the 1, 2, ... n least doubtful rows."""


MOST_KEPT = 2000
"""Points of a curve at most: as many as can be seen apart."""
FEWEST_KEPT = 10
"""Rows from which on a curve is drawn: the mean of fewer jumps."""
CURVES = ((Colour.FIRST, "-"), (Colour.MUTED, (0, (4, 2))), (Colour.SECOND, "-"))


def kept_plot(curves: Sequence[KeptCurve], *, label: str, name: str, alt: str) -> Plot:
    """Draw the mean outcome against the share of the rows that is kept.

    Args:
        curves: At most three, of equally many rows; at least one row.
        label: What the outcome is.
        name: File stem.
        alt: Text alternative.
    """

    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        n = curves[0].outcome.size
        first = min(FEWEST_KEPT, n) - 1
        kept = (
            np.arange(first, n) if n - first <= MOST_KEPT else np.linspace(first, n - 1, MOST_KEPT).round().astype(int)
        )
        for curve, (colour, style) in zip(curves, CURVES, strict=False):
            axes.plot(
                (kept + 1) / n,
                curve.outcome[kept],
                color=colour.value,
                linewidth=1.4,
                linestyle=style,
                label=curve.label,
                drawstyle="steps-post",
            )
        axes.set(xlabel="share of the rows that is kept", ylabel=label, xlim=(0, 1.02))
        if len(curves) > 1:
            axes.legend(loc="best", fontsize=7.5)
        axes.tick_params(length=0)

    return draw_plot(name, alt, draw, height=2.6)


def drawable(samples: Samples) -> NDArray[np.bool_]:
    """Return [N] the rows that have a place in the plot: the `paper` protocol lets infinite numbers through."""
    return samples.is_evaluated & np.isfinite(samples.label) & np.isfinite(samples.prediction)


def scatter_plot(samples: Samples, *, most: int, seed: int, name: str, alt: str) -> Plot:
    """Draw each clip of a task at its mean opinion score and its prediction, with the least-squares line of all clips.

    Args:
        samples: Rows of a task on single clips, one or more of them `drawable`.
        most: So many clips are drawn; of more, chance chooses.
        seed: Of that choice.
        name: File stem.
        alt: Text alternative.
    """
    chosen = samples.take(drawable(samples))
    drawn = chosen.take(_sample(chosen.label.size, most, seed))

    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        axes.scatter(
            drawn.label,
            drawn.prediction,
            s=22,
            color=Colour.FIRST.value,
            alpha=0.6,
            edgecolor=Colour.SURFACE.value,
            linewidth=0.6,
        )
        if np.ptp(chosen.label) > 0:
            ends = np.array([chosen.label.min(), chosen.label.max()])
            slope, offset = np.polyfit(chosen.label, chosen.prediction, 1)
            axes.plot(ends, slope * ends + offset, color=Colour.SECOND.value, linewidth=1.4)
        axes.set(xlabel="mean opinion score", ylabel=f"predicted {samples.task.aspect}")
        axes.set_xlim(*label_limits(chosen.label, samples.task.scale if isinstance(samples.task, MosTask) else None))
        axes.tick_params(length=0)

    return draw_plot(name, alt, draw, height=3.0)


def label_limits(labels: NDArray[np.float64], scale: Scale | None) -> tuple[float, float]:
    """Return the ends of an axis of labels [n]: the whole scale, or the labels where it is not known, with a margin.

    >>> import numpy as np
    >>> label_limits(np.array([2.0, 3.0]), (1.0, 5.0)), label_limits(np.array([0.0, 100.0]), None)
    ((0.9, 5.1), (-2.5, 102.5))
    """
    low, high = scale or (float(labels.min()), float(labels.max()))
    margin = 0.025 * (high - low) or 0.1
    return min(low, float(labels.min())) - margin, max(high, float(labels.max())) + margin


def _sample(n: int, most: int, seed: int) -> NDArray[np.intp]:
    """Return the positions of up to `most` of n things, rising."""
    if n <= most:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, most, replace=False))


BINS = 36
HEADROOM = 1.45
"""Height of a panel over its highest bar: room for the heading."""


class ScoreSpread(NamedTuple):
    """The scores of one dataset; one of both arrays may be all there is."""

    heading: str
    scores: NDArray[np.float64]
    """[n] of all clips, or of those that people preferred."""
    others: NDArray[np.float64] | None = None
    """[n] of the clips that people did not prefer."""


def distribution_plot(spreads: Sequence[ScoreSpread], *, axis: str, name: str, alt: str) -> Plot:
    """Draw a histogram for each dataset over one common axis of scores.

    Args:
        spreads: At least one, none of them empty.
        axis: What the scores are.
        name: File stem.
        alt: Text alternative.
    """
    parts = [part for spread in spreads for part in (spread.scores, spread.others) if part is not None]
    edges = np.histogram_bin_edges(np.concatenate(parts), bins=BINS)

    def draw(figure: "Figure") -> None:
        panels = figure.subplots(len(spreads), 1, sharex=True, squeeze=False)[:, 0]
        for axes, spread in zip(panels, spreads, strict=True):
            counts, _ = np.histogram(spread.scores, edges)
            axes.stairs(counts, edges, fill=True, color=Colour.FIRST.value, alpha=0.55, label="preferred by people")
            highest = counts.max()
            if spread.others is not None:
                others, _ = np.histogram(spread.others, edges)
                axes.stairs(others, edges, color=Colour.SECOND.value, linewidth=1.3, label="the other clip")
                highest = max(highest, others.max())
                axes.legend(loc="upper right", ncols=2, fontsize=7.5, borderaxespad=0.0, handlelength=1.2)
            axes.set_ylim(0, HEADROOM * highest)
            axes.set_title(plot_label(spread.heading), loc="left", fontsize=9, y=0.86, pad=0)
            axes.set_yticks([])
            axes.spines["left"].set_visible(False)
            light_frame(axes, grid="x")
        panels[-1].set_xlabel(axis)

    return draw_plot(name, alt, draw, height=0.5 + 0.85 * len(spreads))
