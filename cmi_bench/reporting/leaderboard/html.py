"""The leaderboard as one HTML page that needs nothing but itself."""

from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from cmi_bench.reporting.leaderboard.board import Kind, Leaderboard
from cmi_bench.reporting.leaderboard.figures import (
    CEILING_LABEL,
    NO_FIGURE,
    before_ceiling,
    headings,
    interval_in_units,
)


def leaderboard_html(board: Leaderboard) -> str:
    """Return the text of `leaderboard.html`: light or dark as the reader prefers, scrolling where it is narrow."""
    environment = Environment(
        loader=PackageLoader("cmi_bench.reporting.leaderboard"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    return environment.get_template("leaderboard.html.j2").render(
        board=board,
        own=Kind.OWN,
        headings=headings,
        before_ceiling=before_ceiling,
        interval=interval_in_units,
        no_figure=NO_FIGURE,
        ceiling_label=CEILING_LABEL,
        # The project's own style sheets, so there is nothing in them to escape.
        styles=[Markup(_style("html", "style.css")), Markup(_style("leaderboard", "leaderboard.css"))],
    )


def _style(package: str, name: str) -> str:
    return (files(f"cmi_bench.reporting.{package}") / "templates" / name).read_text(encoding="utf-8")
