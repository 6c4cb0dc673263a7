"""How often the service is asked, over all calls in flight."""

import threading
import time

from cmi_bench.models.gemini.outcomes import StoppedError


class Pace:
    """Lets calls begin at even distances, and none at all while the service wants to be left alone."""

    def __init__(self, requests_per_minute: float) -> None:
        self.stop = threading.Event()
        """Set when the run is over; whoever waits then stops."""
        self._distance = 60.0 / requests_per_minute
        self._next = 0.0
        self._lock = threading.Lock()

    def wait_for_turn(self) -> None:
        """Return when the next call may begin.

        Raises:
            StoppedError: The run is over.
        """
        with self._lock:
            turn = max(self._next, time.monotonic())
            self._next = turn + self._distance
        self.pause(turn - time.monotonic())

    def hold(self, seconds: float) -> None:
        """Let no call begin for so long."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)

    def pause(self, seconds: float) -> None:
        """Wait, unless the run is over.

        Raises:
            StoppedError: It is.
        """
        if self.stop.wait(max(seconds, 0.0)):
            raise StoppedError
