"""What was run, from the run's metadata, and how it was evaluated."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from cmi_bench.evaluation.clusters import PROMPT
from cmi_bench.evaluation.settings import HONEST, MetricSettings
from cmi_bench.reporting.html.source import ReportSource
from cmi_bench.reporting.html.wording import count
from cmi_bench.reporting.number_text import percent_name
from cmi_bench.tracking.read_metadata import look_up


class Fact(NamedTuple):
    """A name and what it stands for."""

    name: str
    value: str


PROTOCOLS = {
    True: "honest: a tie is the answer \N{LEFT DOUBLE QUOTATION MARK}both\N{RIGHT DOUBLE QUOTATION MARK}; failed pairs "
    "score 0 and are counted; rows without a label are left out and counted",
    False: "compatible: as the public evaluator; ties count as B, rows without label or prediction are dropped",
}
FROM_METADATA: Sequence[tuple[str, Sequence[str]]] = (
    ("started (UTC)", ("started",)),
    ("model", ("model", "name")),
    ("class", ("model", "class")),
    ("weights", ("model", "digest")),
    ("checkpoint", ("config", "model", "checkpoint")),
    ("device", ("device",)),
    ("precision", ("precision",)),
    ("seconds of a clip looked at", ("config", "max_dur")),
    ("seed", ("seed",)),
    ("clips scored", ("counts", "scored")),
    ("clips failed", ("counts", "failed")),
    ("wall time (s)", ("seconds", "wall")),
    ("rows' file (SHA-256)", ("data", "jsonl_sha256")),
    ("decoder", ("decoder",)),
    ("git commit", ("git", "commit")),
    ("uncommitted changes", ("git", "dirty")),
)
"""What is shown, and where it is in `metadata.json`."""


def run_facts(source: ReportSource) -> list[Fact]:
    """Return what is known of the run; nothing without its metadata."""
    metadata = source.metadata or {}
    return [
        *(
            Fact(name, _in_words(value))
            for name, path in FROM_METADATA
            if (value := look_up(metadata, *path)) is not None
        ),
        *_command(metadata),
    ]


def subtitle(source: ReportSource) -> str:
    """Return on what and when the run was; empty without its metadata."""
    metadata = source.metadata or {}
    data, subset, started = (
        look_up(metadata, *path) for path in (("config", "data", "name"), ("config", "subset", "name"), ("started",))
    )
    where = f"on {data}" + (f"/{subset}" if subset and subset != "all" else "") if data else ""
    return ", ".join(part for part in (where, str(started)[:10] if started else "") if part)


def version_facts(source: ReportSource) -> list[Fact]:
    """Return the versions of what computed the numbers."""
    versions = look_up(source.metadata, "versions")
    return [Fact(name, str(value)) for name, value in versions.items()] if isinstance(versions, Mapping) else []


def evaluation_facts(settings: MetricSettings) -> list[Fact]:
    """Return how the numbers were made."""
    drawn = "whole prompts" if settings.cluster == PROMPT else "rows"
    intervals = (
        f"{percent_name(settings.confidence)}, percentile bootstrap of {count(settings.resamples, 'resample')} "
        f"of {drawn}, seed {settings.seed}"
        if settings.resamples
        else "none"
    )
    return [
        Fact("protocol", PROTOCOLS[settings.protocol == HONEST]),
        Fact("split", settings.split),
        Fact("intervals", intervals),
    ]


def _command(metadata: Mapping[str, Any]) -> Iterator[Fact]:
    words = metadata.get("argv")
    if isinstance(words, list):
        yield Fact("command", "python " + shlex.join(map(str, words)))


def _in_words(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
