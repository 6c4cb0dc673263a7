"""`report.html`: one run's evaluation as a page that needs nothing but itself and the audio beside it."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from cmi_bench.reporting.html.format import ReportSource
from cmi_bench.reporting.html.mistakes import mistake_lists
from cmi_bench.reporting.html.sections import (
    FigureSection,
    duration_section,
    group_section,
    margin_section,
    scatter_section,
    spread_section,
)
from cmi_bench.reporting.html.tables import (
    detail_table,
    evaluation_facts,
    run_facts,
    subtitle,
    summary_table,
    tiles,
    version_facts,
)
from cmi_bench.reporting.plots.base import write_png
from cmi_bench.utils.files import write_text_atomic

PAGE_FILE = "report.html"
PLOTS_FOLDER = "plots"


def write_page(source: ReportSource, folder: Path) -> list[Path]:
    """Write `report.html`, and its plots as `plots/<name>.png`.

    The same evaluation gives the same bytes.

    Args:
        source: What to report on.
        folder: The run's folder; links to audio are relative to it.

    Returns:
        The page, and the plots' folder where there are plots.
    """
    sections = [
        section
        for make in (scatter_section, margin_section, group_section, duration_section, spread_section)
        if (section := make(source)) is not None
    ]
    plots = [figure.plot for section in sections for figure in section.figures]
    for plot in plots:
        write_png(plot, folder / PLOTS_FOLDER)
    page = write_text_atomic(folder / PAGE_FILE, page_html(source, sections, folder))
    return [page, *([folder / PLOTS_FOLDER] if plots else [])]


def page_html(source: ReportSource, sections: list[FigureSection], folder: Path) -> str:
    """Return the page's text.

    Args:
        source: What to report on.
        sections: Its plots.
        folder: Where the page will be.
    """
    evaluation = source.evaluation
    environment = _environment()
    return environment.get_template("page.html.j2").render(
        label=source.label,
        subtitle=subtitle(source),
        tiles=tiles(evaluation.summary),
        summary=summary_table(evaluation.summary),
        detail=detail_table(evaluation.detail),
        notes=evaluation.notes,
        sections=sections,
        mistakes=mistake_lists(source, folder),
        run_facts=run_facts(source),
        version_facts=version_facts(source),
        evaluation_facts=evaluation_facts(evaluation.settings),
        style=_verbatim(environment, "style.css"),
        script=_verbatim(environment, "page.js"),
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("cmi_bench.reporting.html.page"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    # Drawn here, so there is nothing in it to escape.
    environment.filters["drawing"] = Markup
    return environment


def _verbatim(environment: Environment, name: str) -> Any:
    """Return the project's own style sheet or script as it is."""
    assert environment.loader is not None
    return Markup(environment.loader.get_source(environment, name)[0])
