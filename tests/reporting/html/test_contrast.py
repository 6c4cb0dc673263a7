"""Text and marks can be told from what is behind them, in both themes: WCAG 2.2's contrast of 4.5:1."""

import re
from importlib.resources import files

import pytest

from cmi_bench.reporting.plots.base import Colour

STYLE = (files("cmi_bench.reporting.html") / "templates/style.css").read_text()
COLOURS = dict(re.findall(r"--([\w-]+): light-dark\((.+?)\)", STYLE))


def luminance(colour):
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("behind", ["page", "raised"])
@pytest.mark.parametrize("front", ["ink", "muted", "link", "warn", "plot-first", "plot-second"])
def test_the_page(theme, behind, front):
    place = ["light", "dark"].index(theme)
    assert contrast(*(COLOURS[name].split(", ")[place] for name in (front, behind))) >= 4.5


def test_the_plots_for_papers():
    for colour in (Colour.INK, Colour.MUTED, Colour.FIRST, Colour.SECOND):
        assert contrast(colour.value, "#ffffff") >= 4.5


def test_the_page_defines_every_colour_of_the_plots():
    for colour in Colour:
        assert f"{colour.variable.removeprefix('var(').removesuffix(')')}: " in STYLE
