"""The plots' colours: those of a printed page, and the page's variables that stand for them on a screen.

The pairs of colours can be told apart by those who see no red or no green, and reach 4.5:1 against white.
"""

from enum import StrEnum


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
