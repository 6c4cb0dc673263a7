"""Scores and failures kept in memory, for those who want no files."""

from cmi_bench.inference.keeper import Keeper
from cmi_bench.inference.score_store import StoredScore


class MemoryKeeper(Keeper):
    """Keeps what a stage comes to until it is asked."""

    def __init__(self) -> None:
        self.scores: dict[str, StoredScore] = {}
        self.reasons: dict[str, str] = {}
        """Why something could not be scored, by key."""

    def _append(self, scores: list[StoredScore]) -> None:
        self.scores |= {score.key: score for score in scores}

    def fail(self, key: str, reason: str) -> int:
        """Keep a failure; return 1, to be counted."""
        self.reasons[key] = reason
        return 1
