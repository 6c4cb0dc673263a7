"""Where a stage keeps scores and failures as they are made."""

import math
from collections.abc import Iterable

from cmi_bench.inference.failures import FailureLog
from cmi_bench.inference.score_store import ScoreStore, StoredScore
from cmi_bench.inference.storage import writing_to


class Keeper:
    """Writes each score to the store and each failure to the run's log, at once."""

    def __init__(self, store: ScoreStore, failures: FailureLog) -> None:
        self.store = store
        self.failures = failures

    def keep(self, scores: Iterable[StoredScore]) -> int:
        """Store scores; an infinite one is a failure. Return how many failed.

        Raises:
            RunError: The disk is full.
        """
        finite, failed = [], 0
        for score in scores:
            if math.isinf(score.alignment) or math.isinf(score.musicality):
                reason = (
                    f"the model returned an infinite score (alignment {score.alignment}, musicality {score.musicality})"
                )
                failed += self.fail(score.key, reason)
            else:
                finite.append(score)
        self._append(finite)
        return failed

    def _append(self, scores: list[StoredScore]) -> None:
        with writing_to(self.store.folder, instead="set cache.dir to another disk"):
            self.store.append(scores)

    def fail(self, key: str, reason: str) -> int:
        """Log a failure; return 1, to be counted."""
        with writing_to(self.failures.folder, instead="set hydra.run.dir to another disk"):
            self.failures.append(key, reason)
        return 1
