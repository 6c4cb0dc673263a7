"""One plot as SVG and PNG."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cmi_bench.reporting.atomic import write_bytes_atomic
from cmi_bench.reporting.plots.inline_svg import inline_svg
from cmi_bench.reporting.plots.palette import Colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 4.0
"""Inches: a column of a paper, and a telephone's screen."""
PNG_DPI = 250
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with Matplotlib, so plots are the same everywhere
    "font.size": 9.0,
    "text.color": Colour.INK.value,
    "axes.labelcolor": Colour.INK.value,
    "axes.edgecolor": Colour.MUTED.value,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "grid.color": Colour.LINE.value,
    "grid.linewidth": 0.6,
    "xtick.color": Colour.MUTED.value,
    "ytick.color": Colour.MUTED.value,
    "legend.frameon": False,
    "text.parse_math": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "cmi_bench",
}


class Plot(NamedTuple):
    """A finished plot."""

    name: str
    """File stem, and what its ids in the page begin with."""
    alt: str
    """What it shows, for those who cannot see it."""
    svg: str
    """Element to be set into a page that defines the variables of `Colour`."""
    png: bytes


def draw_plot(name: str, alt: str, draw: Callable[["Figure"], None], *, height: float, width: float = WIDTH) -> Plot:
    """Draw a figure and write it down twice; the same input gives the same bytes.

    Args:
        name: File stem.
        alt: What the plot shows, in a sentence.
        draw: Puts axes and all else on the empty figure.
        height: Inches.
        width: Inches.
    """
    # Heavy, and not needed by those who only read tables.
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure)
        png, svg = io.BytesIO(), io.StringIO()
        figure.savefig(png, format="png", dpi=PNG_DPI, facecolor="white", metadata={"Software": None})
        # The layout is found; finding it again would take as long as the rest.
        figure.set_layout_engine("none")
        figure.savefig(svg, format="svg", transparent=True, metadata={"Date": None})
    return Plot(name, alt, inline_svg(svg.getvalue(), prefix=name, alt=alt), png.getvalue())


def write_png(plot: Plot, folder: Path) -> Path:
    """Write `<name>.png` into a folder."""
    return write_bytes_atomic(folder / f"{plot.name}.png", plot.png)


def light_frame(axes: "Axes", *, grid: str) -> None:
    """Leave the grid along one axis ("x" or "y") only, and no tick marks."""
    axes.grid(visible=False, axis="x" if grid == "y" else "y")
    axes.tick_params(length=0)
