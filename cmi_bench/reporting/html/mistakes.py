"""The rows on which the model is most confidently wrong, with everything needed to listen and judge."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cmi_bench.data import fields
from cmi_bench.data.datasets import PairTask, Task
from cmi_bench.evaluation.calibration import Mistake, worst_clips, worst_pairs
from cmi_bench.evaluation.protocols import number, score_fields
from cmi_bench.evaluation.samples import Samples, decided_pairs
from cmi_bench.reporting.html.audio import AudioLink, audio_link
from cmi_bench.reporting.html.format import ReportSource, count, score
from cmi_bench.reporting.html.row_cards import ClipView, RowCard, RowList, made_by, row_text

SHOWN = 5
"""Rows of each task."""


def mistake_lists(source: ReportSource, folder: Path) -> list[RowList]:
    """Return the worst rows of each task that has any.

    Args:
        source: What the page is made from.
        folder: Where it will be.
    """
    lists = [_list(samples, source, folder) for samples in source.evaluation.samples]
    return [found for found in lists if found.cards]


def _list(samples: Samples, source: ReportSource, folder: Path) -> RowList:
    title = f"{samples.dataset.name}, {samples.task.name}"
    if isinstance(samples.task, PairTask):
        worst = worst_pairs(decided_pairs(samples), SHOWN)
        summary = f"{count(len(worst), 'pair')}, largest margin first"
    else:
        worst = worst_clips(samples, SHOWN)
        summary = f"{count(len(worst), 'clip')}, farthest from their rank by people first"
    return RowList(
        title, summary, samples.dataset.is_paired, [_card(mistake, samples, source, folder) for mistake in worst]
    )


def _card(mistake: Mistake, samples: Samples, source: ReportSource, folder: Path) -> RowCard:
    raw = source.results[mistake.row - 1]
    is_pair = isinstance(samples.task, PairTask)
    reference = row_text(raw, fields.REF_AUDIO)
    confidence = row_text(raw, samples.task.confidence_field) if isinstance(samples.task, PairTask) else ""
    clips = _pair(raw, samples, source, folder) if is_pair else _single(raw, samples, source, folder)
    return RowCard(
        row=mistake.row,
        verdict=_pair_verdict(mistake) if is_pair else _clip_verdict(mistake),
        prompt=row_text(raw, fields.PROMPT),
        lyrics=row_text(raw, fields.LYRICS),
        clips=clips,
        reference=_link(reference, samples, source, folder) if reference else None,
        confidence=confidence,
        share=_share(raw, samples.task),
    )


def _share(raw: Mapping[str, Any], task: Task) -> str:
    """Return how many of a pair's raters gave the most frequent answer; empty where it had one."""
    share = number(raw.get(task.share_field)) if isinstance(task, PairTask) and task.share_field else math.nan
    return "" if math.isnan(share) else f"{100 * share:.0f} %"


def _link(audio: str, samples: Samples, source: ReportSource, folder: Path) -> AudioLink:
    roots = source.roots_of(samples.dataset.name)
    if source.embedded is not None:
        return source.embedded.link(audio, roots, allow_outside=source.allow_outside)
    return audio_link(audio, roots, folder, allow_outside=source.allow_outside)


def _pair_verdict(mistake: Mistake) -> str:
    return f"The other clip scores {score(-mistake.gap)} more than the one that people preferred."


def _clip_verdict(mistake: Mistake) -> str:
    direction = "higher" if mistake.gap > 0 else "lower"
    return f"By the model it ranks {100 * abs(mistake.gap):.0f} % {direction} among these clips than by people."


def _pair(raw: Mapping[str, Any], samples: Samples, source: ReportSource, folder: Path) -> list[ClipView]:
    field_a, field_b = score_fields(samples.task)
    score_a, score_b = number(raw.get(field_a)), number(raw.get(field_b))
    # A pair that is wrong has no tie: the model prefers one clip, people the other.
    by_model, by_people = ("A", "B") if score_a > score_b else ("B", "A")
    marks = {by_model: ["preferred by the model"], by_people: ["preferred by people"]}
    sides = (
        ("A", fields.AUDIO_A, fields.SYSTEM_A, score_a),
        ("B", fields.AUDIO_B, fields.SYSTEM_B, score_b),
    )
    return [
        ClipView(
            f"Clip {side}",
            _link(row_text(raw, audio), samples, source, folder),
            [*made_by(raw, system), f"predicted {samples.task.aspect} {score(value)}"],
            marks[side],
        )
        for side, audio, system, value in sides
    ]


def _single(raw: Mapping[str, Any], samples: Samples, source: ReportSource, folder: Path) -> list[ClipView]:
    field, _ = score_fields(samples.task)
    facts = [
        *made_by(raw, fields.SYSTEM_A),
        f"mean opinion score {score(number(raw.get(samples.task.label_field)))}",
        f"predicted {samples.task.aspect} {score(number(raw.get(field)))}",
    ]
    return [ClipView("Clip", _link(row_text(raw, fields.AUDIO_A), samples, source, folder), facts)]
