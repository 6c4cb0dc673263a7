"""The rows on which the jobs of a sweep differ most, with everything needed to listen and judge."""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import groupby, islice

from cmi_bench.data import fields
from cmi_bench.evaluation.pairing import Disagreement
from cmi_bench.reporting.comparison import SIDES, is_paired
from cmi_bench.reporting.html.audio import AudioLink
from cmi_bench.reporting.html.format import PageCell, PageTable, count, evenly_spaced, score
from cmi_bench.reporting.html.row_cards import ClipView, RowCard, RowList, made_by, row_text

SHOWN_ROWS = 5
"""Rows of each task."""
SHOWN_JOBS = 12
"""Jobs of each row."""
MAX_TEXT = 2000
"""Characters of a prompt or of lyrics."""

Link = Callable[[str, str], AudioLink]
"""Finds the audio of a row of a dataset, seen from the page."""


def disagreement_lists(rows: Sequence[Disagreement], jobs: Sequence[str], link: Link) -> list[RowList]:
    """Return the first rows of each task.

    Args:
        rows: Those of a task together, the greatest disagreement first.
        jobs: Labels in the page's order.
        link: Finds a clip of a dataset.
    """
    return [
        _list(f"{dataset}, {task}", list(islice(members, SHOWN_ROWS)), jobs, link)
        for (dataset, task), members in groupby(rows, key=lambda row: (row.dataset, row.task))
    ]


def _list(title: str, rows: Sequence[Disagreement], jobs: Sequence[str], link: Link) -> RowList:
    paired = is_paired(rows[0])
    summary = f"{count(len(rows), 'pair' if paired else 'clip')}, the greatest difference first"
    return RowList(title, summary, paired, [_card(row, jobs, link, paired=paired) for row in rows])


def _card(row: Disagreement, jobs: Sequence[str], link: Link, *, paired: bool) -> RowCard:
    judging = [job for job in jobs if job in row.predictions]
    reference = row_text(row.raw, fields.REF_AUDIO)
    return RowCard(
        row=row.row,
        verdict=_pair_verdict(row) if paired else _clip_verdict(row),
        prompt=_clipped(row_text(row.raw, fields.PROMPT)),
        lyrics=_clipped(row_text(row.raw, fields.LYRICS)),
        clips=_pair(row, link) if paired else [_clip("Clip", row, fields.AUDIO_A, fields.SYSTEM_A, link)],
        reference=link(reference, row.dataset) if reference else None,
        scores=_scores(row, judging, paired=paired),
    )


def _side(margin: float) -> str:
    return SIDES[float((margin > 0) - (margin < 0))]


PREFERENCES = {"A": "prefer clip A", "B": "prefer clip B", "both": "prefer neither"}


def _pair_verdict(row: Disagreement) -> str:
    answers = Counter(map(_side, row.predictions.values()))
    shares = ", ".join(f"{answers[side]} {words}" for side, words in PREFERENCES.items() if answers[side])
    return f"People {PREFERENCES[SIDES[row.label]]}. Of {count(len(row.predictions), 'job')} {shares}."


def _clip_verdict(row: Disagreement) -> str:
    return (
        f"Mean opinion score {score(row.label)}. The jobs' ranks of it among these clips are up to "
        f"{50 * row.spread:.0f} % apart."
    )


def _scores(row: Disagreement, jobs: Sequence[str], *, paired: bool) -> PageTable:
    shown = evenly_spaced(jobs, SHOWN_JOBS)
    part = f" ({len(shown)} of {len(jobs)} jobs)" if len(shown) < len(jobs) else ""
    people = SIDES[row.label] if paired else ""
    columns = [PageCell("job", "text"), PageCell("score of A minus score of B" if paired else "score")]
    lines = []
    for job in shown:
        margin = row.predictions[job]
        answer = [PageCell(_side(margin), "text", is_best=_side(margin) == people)] if paired else []
        lines.append([PageCell(job, "head"), PageCell(score(margin)), *answer])
    caption = f"{row.dataset} {row.task}, row {row.row} by job{part}"
    return PageTable(
        f"{caption}; bold: as people" if paired else caption,
        [*columns, *([PageCell("prefers", "text")] if paired else [])],
        lines,
    )


def _pair(row: Disagreement, link: Link) -> list[ClipView]:
    sides = (("A", fields.AUDIO_A, fields.SYSTEM_A), ("B", fields.AUDIO_B, fields.SYSTEM_B))
    preferred = SIDES[row.label]
    return [
        _clip(f"Clip {side}", row, audio, system, link, marks=["preferred by people"] if side == preferred else [])
        for side, audio, system in sides
    ]


def _clip(name: str, row: Disagreement, audio: str, system: str, link: Link, marks: Sequence[str] = ()) -> ClipView:
    return ClipView(name, link(row_text(row.raw, audio), row.dataset), made_by(row.raw, system), marks)


def _clipped(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}…"
