"""The rows on which the model is most confidently wrong, with everything needed to listen and judge."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from cmi_bench.data import fields
from cmi_bench.data.datasets import PairTask
from cmi_bench.data.fields import is_missing
from cmi_bench.data.rows import leads_outside
from cmi_bench.evaluation.calibration import Mistake, worst_clips, worst_pairs
from cmi_bench.evaluation.protocols import number, score_fields
from cmi_bench.evaluation.samples import Samples, decided_pairs
from cmi_bench.reporting.html.format import ReportSource, count, score


class AudioLink(NamedTuple):
    """A clip of a row, for the page."""

    path: str
    """As in the row."""
    url: str | None
    """Relative to the page; None where the page cannot reach the file."""
    problem: str = ""
    """Why it cannot."""


def audio_link(audio: str, roots: Sequence[Path], folder: Path, *, allow_outside: bool = False) -> AudioLink:
    """Find a clip under the first root that has it, seen from the page's folder.

    Args:
        audio: The row's path, relative to a root, or absolute.
        roots: Data roots.
        folder: Where the page is.
        allow_outside: Whether the clip may lie outside of the root; see `data.rows.leads_outside`.
    """
    try:
        allowed = [root for root in roots if allow_outside or not leads_outside(root, audio)]
        found = next((root / audio for root in allowed if (root / audio).is_file()), None)
    except (OSError, ValueError):  # a name that is too long, NUL in it, or a folder that may not be read
        return AudioLink(audio, None, "cannot be read")
    if roots and not allowed:
        return AudioLink(audio, None, "lies outside of data.root; data.allow_outside=true links to it")
    if found is None:
        return AudioLink(audio, None, "not found under data.root")
    try:
        # Not resolved: a browser goes up the path as it is written, whatever the links on the way.
        relative = os.path.relpath(found.absolute(), folder.absolute())
    except ValueError:  # on another drive of a Windows machine
        return AudioLink(audio, None, "on another drive, which no relative path reaches")
    return AudioLink(audio, quote(os.fsencode(Path(relative).as_posix())))


SHOWN = 5
"""Rows of each task."""


class ClipView(NamedTuple):
    """One clip of a row."""

    name: str
    audio: AudioLink
    facts: Sequence[str]
    """The system that made it and its score."""
    marks: Sequence[str] = ()
    """Who preferred it."""


class MistakeCard(NamedTuple):
    """One row."""

    row: int
    verdict: str
    prompt: str
    lyrics: str
    clips: Sequence[ClipView]
    reference: AudioLink | None
    confidence: str


class MistakeList(NamedTuple):
    """The rows of one task."""

    title: str
    summary: str
    is_paired: bool
    cards: Sequence[MistakeCard]


def mistake_lists(source: ReportSource, folder: Path) -> list[MistakeList]:
    """Return the worst rows of each task that has any.

    Args:
        source: What the page is made from.
        folder: Where it will be.
    """
    lists = [_list(samples, source, folder) for samples in source.evaluation.samples]
    return [found for found in lists if found.cards]


def _list(samples: Samples, source: ReportSource, folder: Path) -> MistakeList:
    title = f"{samples.dataset.name}, {samples.task.name}"
    if isinstance(samples.task, PairTask):
        worst = worst_pairs(decided_pairs(samples, source.results), SHOWN)
        summary = f"{count(len(worst), 'pair')}, largest margin first"
    else:
        worst = worst_clips(samples, SHOWN)
        summary = f"{count(len(worst), 'clip')}, farthest from their rank by people first"
    return MistakeList(
        title, summary, samples.dataset.is_paired, [_card(mistake, samples, source, folder) for mistake in worst]
    )


def _card(mistake: Mistake, samples: Samples, source: ReportSource, folder: Path) -> MistakeCard:
    raw = source.results[mistake.row - 1]
    is_pair = isinstance(samples.task, PairTask)
    reference = _text(raw, fields.REF_AUDIO)
    confidence = _text(raw, samples.task.confidence_field) if isinstance(samples.task, PairTask) else ""
    clips = _pair(raw, samples, source, folder) if is_pair else _single(raw, samples, source, folder)
    return MistakeCard(
        row=mistake.row,
        verdict=_pair_verdict(mistake) if is_pair else _clip_verdict(mistake),
        prompt=_text(raw, fields.PROMPT),
        lyrics=_text(raw, fields.LYRICS),
        clips=clips,
        reference=_link(reference, source, folder) if reference else None,
        confidence=confidence,
    )


def _link(audio: str, source: ReportSource, folder: Path) -> AudioLink:
    return audio_link(audio, source.audio_roots, folder, allow_outside=source.allow_outside)


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
            _link(_text(raw, audio), source, folder),
            [*_system(raw, system), f"predicted {samples.task.aspect} {score(value)}"],
            marks[side],
        )
        for side, audio, system, value in sides
    ]


def _single(raw: Mapping[str, Any], samples: Samples, source: ReportSource, folder: Path) -> list[ClipView]:
    field, _ = score_fields(samples.task)
    facts = [
        *_system(raw, fields.SYSTEM_A),
        f"mean opinion score {score(number(raw.get(samples.task.label_field)))}",
        f"predicted {samples.task.aspect} {score(number(raw.get(field)))}",
    ]
    return [ClipView("Clip", _link(_text(raw, fields.AUDIO_A), source, folder), facts)]


def _system(raw: Mapping[str, Any], field: str) -> list[str]:
    return [f"made by {name}"] if (name := _text(raw, field)) else []


def _text(raw: Mapping[str, Any], field: str | None) -> str:
    value = raw.get(field) if field else None
    return "" if is_missing(value) else str(value).strip()
