"""Predicted scores against mean opinion scores."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cmi_bench.evaluation.samples import Samples
from cmi_bench.reporting.plots.palette import Colour
from cmi_bench.reporting.plots.plot import Plot, draw_plot

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def drawable(samples: Samples) -> NDArray[np.bool_]:
    """Return [N] the rows that have a place in the plot: the `compatible` protocol lets infinite numbers through."""
    return samples.is_evaluated & np.isfinite(samples.label) & np.isfinite(samples.prediction)


def scatter_plot(samples: Samples, *, name: str, alt: str) -> Plot:
    """Draw each clip of a task at what people and what the model said, with the least-squares line.

    Args:
        samples: Rows of a task on single clips, one or more of them `drawable`.
        name: File stem.
        alt: Text alternative.
    """
    chosen = samples.take(drawable(samples))

    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        axes.scatter(
            chosen.label,
            chosen.prediction,
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
        axes.set(xlabel="mean opinion score", ylabel=f"predicted {samples.task.judgement}")
        axes.set_xlim(min(0.9, chosen.label.min() - 0.1), max(5.1, chosen.label.max() + 0.1))
        axes.tick_params(length=0)

    return draw_plot(name, alt, draw, height=3.0)
