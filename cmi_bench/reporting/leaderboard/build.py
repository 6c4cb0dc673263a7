"""Build the leaderboard from own runs and the reported figures."""

from collections.abc import Sequence

from cmi_bench.evaluation.comparison.compare import resolution_notes
from cmi_bench.evaluation.comparison.pairing import PairedRows, Run, pair_rows
from cmi_bench.evaluation.settings import MetricSettings
from cmi_bench.reporting.leaderboard.board import BoardTable, Leaderboard, ranked
from cmi_bench.reporting.leaderboard.columns import TABLES
from cmi_bench.reporting.leaderboard.grouping import board_contests, board_settings, letters_of
from cmi_bench.reporting.leaderboard.own import evaluate_run, own_row
from cmi_bench.reporting.leaderboard.reported import reported_notes, reported_rows
from cmi_bench.reporting.number_text import percent_name


def build_leaderboard(
    runs: Sequence[Run], settings: MetricSettings, *, alpha: float, intersect: bool = False
) -> Leaderboard:
    """Put own runs beside the reported figures.

    Args:
        runs: None, one or more.
        settings: Protocol and how intervals are made.
        alpha: Level of significance for the groups among own runs.
        intersect: Group runs over different rows on those in common.

    Raises:
        UserError: A label that is not understood.
    """
    facts = reported_notes()
    settings = board_settings(settings)
    evaluations = {run.label: evaluate_run(run, settings) for run in runs}
    paired = pair_rows(runs, settings.split) if len(runs) > 1 and settings.resamples else None
    grouped = paired if paired is not None and paired.n_common and (intersect or not paired.counts) else None
    origins = {run.label: run.origin for run in runs}
    tables = []
    warnings: dict[str, None] = {}
    for form in TABLES:
        contests = board_contests(grouped, form, settings, alpha=alpha, origins=origins) if grouped else []
        warnings |= dict.fromkeys(resolution_notes(contests, settings, alpha))
        letters = letters_of(contests, form)
        own = [own_row(label, evaluation, form, letters) for label, evaluation in evaluations.items()]
        rows = ranked([*reported_rows(form), *own], form.columns)
        tables.append(BoardTable(form, rows, facts["human_ceiling_percent"][form.slug]))
    return Leaderboard(
        tables=tables,
        source=facts["source"],
        ceiling_note=facts["human_ceiling_note"],
        notes=[*_how(runs, settings), *_grouping(paired, grouped, alpha), *warnings],
    )


def _how(runs: Sequence[Run], settings: MetricSettings) -> list[str]:
    if not runs:
        return []
    intervals = (
        f", {percent_name(settings.confidence)} intervals by bootstrap (cluster {settings.cluster}, "
        f"{settings.resamples} resamples, seed {settings.seed})"
        if settings.resamples
        else ""
    )
    return [f"Own rows: protocol {settings.protocol}{intervals}."]


def _grouping(paired: PairedRows | None, grouped: PairedRows | None, alpha: float) -> list[str]:
    if grouped is not None:
        said = (
            "Own rows that share a letter do not differ significantly in that column "
            f"(alpha = {alpha:g}; exact McNemar or paired bootstrap, Holm-corrected over a dataset's columns)."
        )
        return [said, *([f"Letters are over the {grouped.n_common} rows in common."] if grouped.counts else [])]
    if paired is None:
        return []
    why = f"{'; '.join(paired.counts)}" if paired.n_common else "no row in common"
    more = " intersect=true groups them on the rows in common." if paired.n_common else ""
    return [f"No significance groups: own runs are over different rows ({why}).{more}"]
