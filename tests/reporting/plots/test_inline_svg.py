import re

import pytest

from cmi_bench.reporting.plots.base import Colour, inline_svg

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
