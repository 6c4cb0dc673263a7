"""Make Matplotlib's SVG file an element of an HTML page: unique ids, the page's font and the page's colours."""

import re
from xml.etree import ElementTree

from cmi_bench.reporting.plots.palette import Colour

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
    root = ElementTree.fromstring(text)
    _remove(root, "metadata", "style")
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.attrib |= {"role": "img", "aria-label": alt, "focusable": "false"}
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
