"""A comparison for people, in a terminal or a text file."""

from collections.abc import Iterator

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cmi_bench.evaluation.comparison.records import Comparison, Contest, Difference
from cmi_bench.reporting.comparison.wording import contest_title, how_it_was_done
from cmi_bench.reporting.number_text import bounds_text, interval_text, p_text, percent_name, signed


def comparison_view(comparison: Comparison) -> RenderableType:
    """Return one table a task, by its first metric, each run beside the best; readable at 80 columns."""
    parts: list[RenderableType] = []
    seen: set[tuple[str, str]] = set()
    for contest in comparison.contests:
        if (contest.dataset, contest.task) not in seen:
            seen.add((contest.dataset, contest.task))
            parts += [Text(contest_title(contest, comparison), style="bold"), _table(contest, comparison)]
            parts += [Text(f"{contest.note}.\n")] if contest.note else []
    notes = (*how_it_was_done(comparison), *comparison.notes)
    return Group(*parts, *(Text(note) for note in notes))


def _table(contest: Contest, comparison: Comparison) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("run", overflow="fold")
    table.add_column(contest.metric, justify="right", no_wrap=True)
    table.add_column(f"{percent_name(comparison.settings.confidence)} interval", no_wrap=True)
    table.add_column("group", no_wrap=True)
    table.add_column("minus the best", no_wrap=True)
    table.add_column("p", justify="right", no_wrap=True)
    for cells in _lines(contest):
        table.add_row(*map(Text, cells))
    return table


def _lines(contest: Contest) -> Iterator[list[str]]:
    best = contest.standings[0].run
    for one in contest.standings:
        value = f"{one.value:.4f}" if one.value is not None else "undef."
        cells = [one.run, value, interval_text(one.interval), one.letters]
        behind = next((d for d in contest.differences if {d.first, d.second} == {best, one.run}), None)
        yield [*cells, *(_behind(behind, best) if behind is not None else ["", ""])]


def _behind(difference: Difference, best: str) -> list[str]:
    """The difference of the other run to the best, with its interval, and its p."""
    sign = -1 if difference.first == best else 1
    interval = difference.interval
    if interval.low is None or interval.high is None:
        return [signed(sign * difference.value), p_text(difference.p_holm)]
    low, high = sorted((sign * interval.low, sign * interval.high))
    return [f"{signed(sign * difference.value)} {bounds_text(low, high)}", p_text(difference.p_holm)]
