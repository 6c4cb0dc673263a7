"""The spending limit: no call begins that could cross it."""

import threading

from cmi_bench.errors import RunError


class Budget:
    """Counts what was spent in this process, and what calls in flight may yet cost."""

    def __init__(self, limit: float | None) -> None:
        self.limit = limit
        """Dollars; None where there is no limit."""
        self.spent = 0.0
        """Dollars, as far as known."""
        self._reserved = 0.0
        self._changed = threading.Condition()

    def reserve(self, dollars: float) -> None:
        """Set aside the most that a call may cost; waits for calls in flight where they may leave enough.

        Raises:
            RunError: There is not enough left.
        """
        with self._changed:
            while not self._has(dollars) and self._reserved > 0:
                self._changed.wait()
            if not self._has(dollars):
                raise RunError(
                    f"The spending limit is reached: ${self.spent:.2f} of ${self.limit:.2f} are spent, and one answer"
                    f" more may cost ${dollars:.3f}.",
                    "What was answered so far is kept. Raise model.max_spend, and run the same command again: it goes"
                    " on from there.",
                )
            self._reserved += dollars

    def settle(self, reserved: float, spent: float) -> None:
        """Give back what was set aside for a call, and count what it cost."""
        with self._changed:
            # No sum of floats that went up and down is exactly 0 again.
            self._reserved = max(self._reserved - reserved, 0.0) if self._reserved - reserved > 1e-9 else 0.0
            self.spent += spent
            self._changed.notify_all()

    def _has(self, dollars: float) -> bool:
        return self.limit is None or self.spent + self._reserved + dollars <= self.limit
