"""What `benchmarks.against_public` measured: cases, turns, ratios, differences of scores, and their tables."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from rich.table import Table

CHUNK_SECONDS = 30
"""The longest piece that goes through the encoder at once."""
SIDES = ("public", "ours")


class Case(NamedTuple):
    """What is scored in one turn."""

    batch: int
    """Chunks of 30 s encoded, and clips scored, at once."""
    seconds: int
    """Of each clip."""
    references: bool
    """Whether each clip has a reference of its own, as long as itself."""

    @property
    def clips(self) -> int:
        """As many as fill a batch of the encoder."""
        return max(1, self.batch * CHUNK_SECONDS // self.seconds)

    @property
    def chunks(self) -> int:
        """How many pieces of up to 30 s go through the encoder."""
        return self.clips * -(-self.seconds // CHUNK_SECONDS) * (2 if self.references else 1)


@dataclass(frozen=True)
class Turn:
    """What scoring a case once took on one side."""

    side: str
    case: Case
    busy: int
    """How many other processes kept the machine busy."""
    round: int
    seconds: float
    processor_seconds: float
    memory_gb: float
    """Peak of the process, in 10^9 bytes."""
    device_gb: float | None
    """Peak of what torch had on the device, in 10^9 bytes; None on the CPU."""
    scores: list[list[float]]
    """[alignment, musicality] of each clip."""


@dataclass(frozen=True)
class ColdStart:
    """A new process of one side, from its start to the scores of one clip of 30 s."""

    side: str
    seconds: float
    """From the start of the process to the scores."""
    processor_seconds: float
    load_seconds: float
    """Imports and weights, by the clock."""
    first_seconds: float
    """Scoring, by the clock."""
    first_processor_seconds: float
    memory_gb: float


class Ratio(NamedTuple):
    """How many times as fast ours is, over rounds."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        several = f" ({self.low:.2f}-{self.high:.2f})" if self.low < self.high else ""
        return f"{self.median:.2f}{several}"


class RatioRow(NamedTuple):
    """How many times as fast ours is in a case beside so many busy processes, over its rounds."""

    case: Case
    busy: int
    rounds: int
    clock: Ratio
    processor: Ratio


def ratios(turns: Sequence[Turn]) -> list[RatioRow]:
    """Return how many times as fast ours is: public over ours of each round, their median and range."""
    rows = []
    for case, busy in dict.fromkeys((turn.case, turn.busy) for turn in turns):
        public, ours = ([t for t in turns if (t.case, t.busy, t.side) == (case, busy, side)] for side in SIDES)
        pairs = list(zip(public, ours, strict=False))  # the last round may be one side's only
        if not pairs:
            continue
        rows.append(
            RatioRow(
                case,
                busy,
                len(pairs),
                _ratio([p.seconds / o.seconds for p, o in pairs]),
                _ratio([p.processor_seconds / o.processor_seconds for p, o in pairs]),
            )
        )
    return rows


def _ratio(values: Sequence[float]) -> Ratio:
    return Ratio(statistics.median(values), min(values), max(values))


def compare_scores(turns: Sequence[Turn]) -> dict[str, float]:
    """Return the largest differences of scores: between the sides, and between rounds of one side.

    Standard deviations are those of the public code's scores over all distinct clips, of each aspect.
    """
    public, ours = (_scores_by_case(turns, side) for side in SIDES)
    both = [case for case in public if case in ours]
    a, b = (np.concatenate([scores[case][0] for case in both]) for scores in (public, ours))
    difference, spread = np.abs(a - b).max(axis=0), a.std(axis=0)
    return {
        "clips compared": len(a),
        "largest difference of scores": float(difference.max()),
        "largest difference of scores, in standard deviations": float((difference / spread).max())
        if spread.all()
        else float("nan"),
        "largest difference between rounds, public code": _between_rounds(public.values()),
        "largest difference between rounds, ours": _between_rounds(ours.values()),
    }


def _scores_by_case(turns: Sequence[Turn], side: str) -> dict[Case, list[Any]]:
    found: dict[Case, list[Any]] = {}
    for turn in turns:
        if turn.side == side:
            found.setdefault(turn.case, []).append(np.array(turn.scores))
    return found


def _between_rounds(scores: Iterable[list[Any]]) -> float:
    return max(float(np.ptp(np.stack(rounds), axis=0).max()) for rounds in scores)


def cold_line(start: ColdStart) -> str:
    """Return what a cold start took, in a line."""
    return (
        f"  {_name(start.side)}: {start.seconds:.1f} s (ready after {start.load_seconds:.1f}, one clip"
        f" {start.first_seconds:.1f}), {start.processor_seconds:.1f} processor seconds"
    )


def turn_line(turn: Turn) -> str:
    """Return what a turn took, in a line."""
    busy = f", {turn.busy} busy beside" if turn.busy else ""
    return (
        f"  round {turn.round + 1}, {describe_case(turn.case)}{busy}: {_name(turn.side)} {turn.seconds:.2f} s,"
        f" {turn.processor_seconds:.2f} processor seconds"
    )


def describe_case(case: Case) -> str:
    """Return a case in words."""
    clips = f"{case.clips} clip{'s' if case.clips > 1 else ''} of {case.seconds} s"
    return f"{clips}{' with references' if case.references else ''}, batch {case.batch}"


COLD = {
    "clock, s": "seconds",
    "ready, s": "load_seconds",
    "the clip, s": "first_seconds",
    "processor, s": "processor_seconds",
    "of it the clip": "first_processor_seconds",
    "memory, GB": "memory_gb",
}
"""Columns of the table of cold starts."""


def cold_table(starts: Sequence[ColdStart]) -> Table:
    """Return what new processes took; medians."""
    table = Table("", *COLD, title="Cold: a new process of each, from its start to the scores of one clip of 30 s")
    for side in SIDES:
        own = [start for start in starts if start.side == side]
        table.add_row(
            _name(side), *(f"{statistics.median(getattr(one, key) for one in own):.1f}" for key in COLD.values())
        )
    clock, processor = (_ratio_of(starts, name) for name in ("seconds", "processor_seconds"))
    table.add_row("times as fast", str(clock), "", "", str(processor), "", "")
    return table


def _ratio_of(starts: Sequence[ColdStart], name: str) -> Ratio:
    public, ours = ([getattr(start, name) for start in starts if start.side == side] for side in SIDES)
    return _ratio([p / o for p, o in zip(public, ours, strict=True)])


def turn_table(turns: Sequence[Turn], rows: Sequence[RatioRow]) -> Table:
    """Return the cases: medians of what they took, and how many times as fast ours is."""
    on_device = any(turn.device_gb is not None for turn in turns)
    title = "Steady, in turns: public code / ours (medians), and how many times as fast ours is (range over rounds)"
    columns = (
        "clips",
        "reference",
        "batch",
        "busy",
        "rounds",
        "clock, s",
        "times",
        "processor, s",
        "times",
        "memory, GB",
    )
    table = Table(*columns, *(["device, GB"] if on_device else []), title=title)
    for row in rows:
        pair = [[t for t in turns if (t.case, t.busy, t.side) == (row.case, row.busy, side)] for side in SIDES]
        case = (
            f"{row.case.clips} of {row.case.seconds} s",
            "yes" if row.case.references else "no",
            str(row.case.batch),
        )
        took = (_pair(pair, "seconds"), str(row.clock), _pair(pair, "processor_seconds"), str(row.processor))
        memory = (_pair(pair, "memory_gb"), *([_pair(pair, "device_gb")] if on_device else []))
        table.add_row(*case, str(row.busy), str(row.rounds), *took, *memory)
    return table


def _pair(sides: Sequence[Sequence[Turn]], name: str) -> str:
    return " / ".join(f"{statistics.median(getattr(turn, name) for turn in own):.1f}" for own in sides)


def agreement_table(agreement: dict[str, float]) -> Table:
    """Return the differences of scores."""
    table = Table("scores", "")
    for name, value in agreement.items():
        table.add_row(name, f"{value:.2g}")
    return table


def _name(side: str) -> str:
    return "public code" if side == "public" else "ours"
