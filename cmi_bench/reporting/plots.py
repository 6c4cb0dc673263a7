"""Plots of an evaluation, each drawn once: SVG for the page, which colours it, and PNG for papers.

The pairs of colours can be told apart by those who see no red or no green, and reach 4.5:1 against white.
"""

import contextlib
import io
import os
import re
import sys
import warnings
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from xml.etree import ElementTree

from cmi_bench.reporting.format import one_line
from cmi_bench.utils.console import printable
from cmi_bench.utils.files import write_bytes_atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Colour(StrEnum):
    """A colour by its role; the value is what PNG files get. No two may be alike: SVG files are recoloured by value."""

    INK = "#1b2129"
    MUTED = "#5a6572"
    LINE = "#d3d9e0"
    SURFACE = "#fefefe"
    """Around points that lie on each other."""
    FIRST = "#0b62b8"
    SECOND = "#b3480e"

    @property
    def variable(self) -> str:
        """The custom property in the page's style sheet."""
        return f"var(--plot-{self.name.lower()})"


SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
HREF = f"{{{XLINK}}}href"
_FONT_FAMILY = re.compile(r"font-family:[^;]*;?\s*")
_REFERENCE = re.compile(r"#([\w-]+)")
_URL = re.compile(r"url\(#([\w-]+)\)")


def inline_svg(text: str, *, prefix: str, alt: str) -> str:
    """Return the `<svg>` element of a file for a page that may hold others.

    Args:
        text: The file, with its text kept as text.
        prefix: What its ids shall begin with.
        alt: Its text alternative.
    """
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", XLINK)
    root = ElementTree.fromstring(printable(text))
    _remove(root, "metadata", "style")
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.attrib |= {"role": "img", "aria-label": one_line(alt), "focusable": "false"}
    # Most of Matplotlib's ids name parts of the drawing, and nothing points to them.
    used = {name for element in root.iter() for value in element.attrib.values() for name in _REFERENCE.findall(value)}
    for element in root.iter():
        _adapt(element, prefix, used)
    return ElementTree.tostring(root, encoding="unicode")


def _remove(root: ElementTree.Element, *tags: str) -> None:
    for parent in list(root.iter()):
        for tag in tags:
            for child in parent.findall(f"{{{SVG}}}{tag}"):
                parent.remove(child)


def _adapt(element: ElementTree.Element, prefix: str, used: set[str]) -> None:
    attributes = element.attrib
    name = attributes.pop("id", None)
    if name in used:
        attributes["id"] = f"{prefix}-{name}"
    if HREF in attributes:
        # The plain attribute is understood by every browser of today.
        attributes["href"] = f"#{prefix}-{attributes.pop(HREF).removeprefix('#')}"
    if "clip-path" in attributes:
        attributes["clip-path"] = _URL.sub(rf"url(#{prefix}-\1)", attributes["clip-path"])
    if "style" in attributes:
        style = _FONT_FAMILY.sub("", attributes["style"])
        for colour in Colour:
            style = style.replace(colour.value, colour.variable)
        attributes["style"] = style


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
    _import_matplotlib()
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE), warnings.catch_warnings():
        # A label in a script that the font does not have is drawn as boxes in the PNG, and is text in the SVG.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure)
        png, svg = io.BytesIO(), io.StringIO()
        figure.savefig(png, format="png", dpi=PNG_DPI, facecolor="white", metadata={"Software": None})
        # The layout is found; finding it again would take as long as the rest.
        figure.set_layout_engine("none")
        figure.savefig(svg, format="svg", transparent=True, metadata={"Date": None})
    return Plot(name, alt, inline_svg(svg.getvalue(), prefix=name, alt=alt), png.getvalue())


def _import_matplotlib() -> None:
    """Import Matplotlib, which is heavy, when there is something to draw, and whatever `MPLBACKEND` says.

    A notebook's kernel sets that for the processes below it too, which may not have the package that it names; an
    import would fail. Nothing here needs a backend. A program's own plots get the one that it asked for.
    """
    if "matplotlib" in sys.modules:
        return
    wanted = os.environ.pop("MPLBACKEND", None)
    import matplotlib

    if wanted is not None:
        os.environ["MPLBACKEND"] = wanted
        with contextlib.suppress(ValueError):
            matplotlib.rcParams["backend"] = wanted


def write_png(plot: Plot, folder: Path) -> Path:
    """Write `<name>.png` into a folder."""
    return write_bytes_atomic(folder / f"{plot.name}.png", plot.png)


LABEL_LENGTH = 40
"""Characters: a longer label leaves the plot no room."""


def plot_label(text: str) -> str:
    """Return text that can be drawn: on one line, and shortened in its middle where it is long."""
    line, half = one_line(text), LABEL_LENGTH // 2
    return line if len(line) <= LABEL_LENGTH else f"{line[:half]}…{line[1 - half :]}"


def light_frame(axes: "Axes", *, grid: str) -> None:
    """Leave the grid along one axis ("x" or "y") only, and no tick marks."""
    axes.grid(visible=False, axis="x" if grid == "y" else "y")
    axes.tick_params(length=0)
