"""A row as a card on a page: its prompt and lyrics, its clips with players, and what is said of it."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from cmi_bench.data.fields import is_missing
from cmi_bench.reporting.html.audio import AudioLink
from cmi_bench.reporting.html.format import PageTable


class ClipView(NamedTuple):
    """One clip of a row."""

    name: str
    audio: AudioLink
    facts: Sequence[str]
    """The system that made it and its score."""
    marks: Sequence[str] = ()
    """Who preferred it."""


class RowCard(NamedTuple):
    """One row."""

    row: int
    verdict: str
    prompt: str
    lyrics: str
    clips: Sequence[ClipView]
    reference: AudioLink | None
    confidence: str = ""
    """The annotator's, of 5."""
    share: str = ""
    """How many of a pair's raters gave the most frequent answer, e.g. "67 %"."""
    scores: PageTable | None = None
    """What several jobs of a sweep say of it."""


class RowList(NamedTuple):
    """The rows of one task."""

    title: str
    summary: str
    is_paired: bool
    cards: Sequence[RowCard]


def made_by(raw: Mapping[str, Any], field: str) -> list[str]:
    """Return the system that made a clip, as a fact; nothing where the row does not say."""
    return [f"made by {name}"] if (name := row_text(raw, field)) else []


def row_text(raw: Mapping[str, Any], field: str | None) -> str:
    """Return what a row says in a field; empty where it says nothing."""
    value = raw.get(field) if field else None
    return "" if is_missing(value) else str(value).strip()
