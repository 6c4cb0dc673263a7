"""Points of curves on their way to a store: sent together, and each once, though a resumed training repeats some."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

SEND_SECONDS = 10.0
"""How often points are sent: a call to a store takes some hundredths of a second."""


class CurvePoint(NamedTuple):
    """One value of a metric along a sweep or a training."""

    metric: str
    step: int
    value: float
    seconds: float
    """When it was measured, since 1970: MLflow keeps a value that is sent twice once."""

    @property
    def timestamp(self) -> int:
        """When it was measured, in milliseconds since 1970."""
        return int(self.seconds * 1000)


class Curves:
    """The curves of a training."""

    def __init__(
        self, send: Callable[[Sequence[CurvePoint]], None], earlier: Callable[[str], Mapping[int, int]]
    ) -> None:
        """Begin without a point.

        Args:
            send: Sends points to the store.
            earlier: Returns what the store has of a curve from before the training was resumed: for each step a time,
                in milliseconds since 1970.
        """
        self._send = send
        self._earlier = earlier
        self._waiting: list[CurvePoint] = []
        self._sent = time.monotonic()
        self._times: dict[str, dict[int, int]] = {}

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Take those points that are not recorded yet, and send what waits every few seconds."""
        now = time.time()
        for name, value in values.items():
            if step not in (times := self._times_of(name)):
                self._waiting.append(point := CurvePoint(name, step, value, now))
                times[step] = point.timestamp
        if time.monotonic() - self._sent > SEND_SECONDS:
            self.send()

    def send(self) -> None:
        """Send the points that wait."""
        waiting, self._waiting, self._sent = self._waiting, [], time.monotonic()
        if waiting:
            self._send(waiting)

    def recorded_at(self, name: str, step: int) -> int:
        """Return when a point that was added was recorded, in milliseconds since 1970."""
        return self._times[name][step]

    def _times_of(self, name: str) -> dict[int, int]:
        if name not in self._times:
            self._times[name] = dict(self._earlier(name))
        return self._times[name]
