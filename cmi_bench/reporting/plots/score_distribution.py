"""How a model's scores are spread, dataset by dataset."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cmi_bench.reporting.plots.palette import Colour
from cmi_bench.reporting.plots.plot import Plot, draw_plot, light_frame

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
            axes.set_title(spread.heading, loc="left", fontsize=9, y=0.86, pad=0)
            axes.set_yticks([])
            axes.spines["left"].set_visible(False)
            light_frame(axes, grid="x")
        panels[-1].set_xlabel(axis)

    return draw_plot(name, alt, draw, height=0.5 + 0.85 * len(spreads))
