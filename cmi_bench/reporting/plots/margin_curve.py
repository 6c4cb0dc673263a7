"""Accuracy by margin beside the fitted Bradley-Terry curve."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import scipy

from cmi_bench.evaluation.calibration import MarginBin
from cmi_bench.reporting.plots.palette import Colour
from cmi_bench.reporting.plots.plot import Plot, draw_plot

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
        for one in bins:
            if one.bounds:
                axes.plot([one.margin] * 2, one.bounds, color=Colour.FIRST.value, linewidth=1.2)
        axes.plot(
            [one.margin for one in bins],
            [one.accuracy for one in bins],
            linestyle="none",
            marker="o",
            markersize=5,
            color=Colour.FIRST.value,
            label="observed",
        )
        axes.set(xlabel="margin (difference of the two scores)", ylabel="accuracy", xlim=(0, 1.03 * end))
        axes.set_ylim(min(0.4, *(low for one in bins for low in (one.bounds or (one.accuracy,)))) - 0.03, 1.03)
        axes.legend(loc="lower right")
        axes.tick_params(length=0)

    return draw_plot(name, alt, draw, height=3.0)
