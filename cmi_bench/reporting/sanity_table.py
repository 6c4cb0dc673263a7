"""The sanity ladder for people, in a terminal."""

from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cmi_bench.evaluation.ladder import KindTrend, LadderResult, StepChange


def sanity_view(results: Sequence[LadderResult], lowers: Mapping[str, str], *, title: str) -> RenderableType:
    """Return the table with what its columns mean below.

    Args:
        results: One for each judgement of the model, over the same steps.
        lowers: Which judgement a listener would lower, by kind.
        title: The model's name.
    """
    if not results:
        return Group(Text(title, style="bold"), Text("The model gave no clip a score."))
    n = len(results[0].clean)
    note = (
        f"Change from the clean clip, mean and standard deviation over {n} pieces; clean scores: "
        + "; ".join(f"{result.judgement} {_range(result.clean)}" for result in results)
        + ". rho: rank correlation of severity and score, mean over pieces; -1.00 where more damage always lowers it."
        " * is what a listener would lower."
    )
    return Group(Text(title, style="bold"), _table(results, lowers), Text(note))


def _table(results: Sequence[LadderResult], lowers: Mapping[str, str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("kind", "step"):
        table.add_column(name, no_wrap=True)
    shows_n = len({change.n for result in results for change in result.changes}) > 1
    if shows_n:
        table.add_column("n", justify="right", no_wrap=True)
    for result in results:
        table.add_column(str(result.judgement), justify="right", no_wrap=True)
        table.add_column("rho", justify="right", no_wrap=True)
    last = None
    for row in zip(*(result.changes for result in results), strict=True):
        kind, step = row[0].kind, row[0].step
        is_first, last = kind != last, kind
        cells = [Text(kind if is_first else ""), Text(step), *([Text(str(row[0].n))] if shows_n else [])]
        for change, result in zip(row, results, strict=True):
            mark = "*" if lowers.get(kind) == result.judgement else " "
            cells.append(Text(_change(change) + mark))
            cells.append(Text(_trend(_trend_of(kind, result)) if is_first else ""))
        table.add_row(*cells)
    return table


def _trend_of(kind: str, result: LadderResult) -> KindTrend:
    return next(trend for trend in result.trends if trend.kind == kind)


def _trend(trend: KindTrend) -> str:
    return "undef" if trend.correlation.value is None else f"{trend.correlation.value:+.2f}"


def _change(change: StepChange) -> str:
    if change.mean is None:
        return "all failed"
    spread = "" if change.spread is None else f" ±{change.spread:.3f}"
    return f"{change.mean:+.3f}{spread}"


def _range(scores: Sequence[float]) -> str:
    return f"{min(scores):.3f} to {max(scores):.3f}" if scores else "none"
