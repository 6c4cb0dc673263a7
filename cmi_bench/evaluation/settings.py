"""What an evaluation counts, and which tables it makes."""

import itertools
import math
from dataclasses import dataclass

from cmi_bench.errors import UserError, did_you_mean

PROMPT = "prompt"
NONE = "none"
CLUSTERINGS = (PROMPT, NONE)
STRICT = "strict"
PAPER = "paper"
PROTOCOL_NAMES = (STRICT, PAPER)


@dataclass(frozen=True)
class MetricSettings:
    """Protocol, metrics and groups of an evaluation.

    Raises:
        UserError: An unknown protocol or clustering, duration bins that do not rise, a negative number of
            resamples, or a confidence that is not between 0 and 1.
    """

    protocol: str = STRICT
    """How ties, failures and missing labels count: "strict", or "paper" with the public script."""
    split: str = "test"
    """Rows of other splits are passed over."""
    include_lcc: bool = True
    include_k_tau: bool = True
    by_month: bool = True
    """MusicArena by month of collection."""
    by_condition: bool = True
    """CMI-Pref by what the instruction consists of."""
    by_reference: bool = True
    """CMI-Pref with and without reference audio."""
    by_lyrics: bool = True
    """CMI-Pref without lyrics ("instru") and with them ("vocal")."""
    by_confidence: bool = True
    """CMI-Pref by the annotator's confidence: below, at and above 3."""
    by_duration: bool = False
    """Everything by clip length; needs durations."""
    duration_bins: tuple[float, ...] = (10.0, 30.0, 60.0, 120.0, 500.0)
    """Edges in seconds; each bin holds its lower edge, the last one also its upper."""
    resamples: int = 10_000
    """Bootstrap resamples behind each interval; 0 leaves intervals out."""
    confidence: float = 0.95
    """Of the intervals."""
    cluster: str = PROMPT
    """What is resampled: all rows of a "prompt" together, or each row by itself ("none")."""
    seed: int = 0
    """Of the resampling."""

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOL_NAMES:
            raise UserError(
                f"metrics.protocol={self.protocol!r} is not a protocol.",
                did_you_mean(str(self.protocol), PROTOCOL_NAMES),
            )
        if self.cluster not in CLUSTERINGS:
            raise UserError(
                f"metrics.cluster={self.cluster!r} is no clustering.", did_you_mean(str(self.cluster), CLUSTERINGS)
            )
        if self.resamples < 0:
            raise UserError(f"metrics.resamples={self.resamples} is negative.", "Use 0 for no intervals.")
        if not 0 < self.confidence < 1:
            raise UserError(
                f"metrics.confidence={self.confidence} is not between 0 and 1.", "Use 0.95 for 95 % intervals."
            )
        bins = tuple(float(edge) for edge in self.duration_bins)
        rising = all(low < high for low, high in itertools.pairwise(bins))
        if len(bins) < 2 or not rising or not all(map(math.isfinite, bins)):
            raise UserError(
                f"metrics.duration_bins={list(bins)} are not bins.", "Give two or more rising numbers of seconds."
            )
        # Configuration files hand over a list; hashing and equality want the tuple.
        object.__setattr__(self, "duration_bins", bins)
