"""Plots: the element for a page, the file for a paper, and colours that can be told apart."""

import os
import re
import subprocess
import sys
from importlib.resources import files

import pytest

from cmi_bench.reporting.plots import Colour, draw_plot, inline_svg, write_png

FILE = """<?xml version="1.0"?>
<svg xmlns:xlink="http://www.w3.org/1999/xlink" width="10pt" height="10pt" viewBox="0 0 10 10"
 xmlns="http://www.w3.org/2000/svg" version="1.1">
 <metadata><date>today</date></metadata>
 <defs><style type="text/css">*{stroke-linecap: butt}</style></defs>
 <g id="figure_1"><defs><path id="m1" d="M 0 0" style="stroke: #0b62b8"/></defs>
  <g clip-path="url(#p2)"><use xlink:href="#m1" x="1" style="fill: #0b62b8; fill-opacity: 0.5"/></g></g>
 <text style="font-size: 9px; font-family: 'DejaVu Sans', sans-serif; text-anchor: middle; fill: #1b2129"
 >a &lt; b</text>
 <defs><clipPath id="p2"><rect/></clipPath></defs>
</svg>"""


@pytest.fixture
def element():
    return inline_svg(FILE, prefix="one", alt='5 < 6 & "so on"')


def test_it_is_one_element_that_says_what_it_shows(element):
    assert element.startswith("<svg ")
    assert 'viewBox="0 0 10 10"' in element
    assert 'role="img"' in element
    assert 'aria-label="5 &lt; 6 &amp; &quot;so on&quot;"' in element
    assert "metadata" not in element
    assert "<style" not in element
    assert ' width="10pt"' not in element


def test_ids_are_its_own_and_references_follow(element):
    assert set(re.findall(r' id="([^"]+)"', element)) == {"one-m1", "one-p2"}
    assert 'href="#one-m1"' in element
    assert "url(#one-p2)" in element


def test_font_and_colours_are_left_to_the_page(element):
    assert "DejaVu" not in element
    assert "font-size: 9px; text-anchor: middle; fill: var(--plot-ink)" in element
    assert not [colour for colour in Colour if colour.value in element]
    assert "a &lt; b" in element


def test_no_two_colours_are_alike():
    assert len({colour.value for colour in Colour}) == len(Colour)


def draw_line(figure):
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=Colour.FIRST.value)
    axes.set_title("<3 & $x$")


@pytest.fixture(scope="module")
def plot():
    return draw_plot("a-line", "what it shows", draw_line, height=1.0)


def test_the_same_input_gives_the_same_bytes(plot):
    assert draw_plot("a-line", "what it shows", draw_line, height=1.0) == plot


def test_text_of_a_plot_stays_text(plot):
    assert "&lt;3 &amp; $x$</text>" in plot.svg


def test_drawing_leaves_matplotlibs_settings_alone():
    import matplotlib

    before = dict(matplotlib.rcParams)
    draw_plot("empty", "nothing", lambda figure: None, height=1.0)
    assert dict(matplotlib.rcParams) == before


def test_png_files_are_named_after_the_plot(plot, tmp_path):
    path = write_png(plot, tmp_path / "plots")
    assert path == tmp_path / "plots/a-line.png"
    assert path.read_bytes() == plot.png
    assert plot.png.startswith(b"\x89PNG")


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


@pytest.mark.slow
@pytest.mark.parametrize("asked", ["module://matplotlib_inline.backend_inline", "svg"])  # the first is not installed
def test_a_program_draws_whatever_its_backend_is_and_keeps_it(asked):
    code = """
from cmi_bench.reporting.plots import draw_plot
plot = draw_plot("name", "alt", lambda figure: figure.subplots().plot([1, 2]), height=2)
import matplotlib, os
svg = dict.get(matplotlib.rcParams, "backend") == "svg"  # as it is, not what asking for it would choose
print(plot.png[1:4].decode(), os.environ["MPLBACKEND"], svg)
"""
    env = os.environ | {"MPLBACKEND": asked}
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split() == ["PNG", asked, str(asked == "svg")]
