"""The songs that a server has taken and not answered: so many at most, decoded ahead, and batched by their length.

Decoding threads take them in the order of arrival, as long as not too much decoded audio lies about. A device's thread
takes the one that has waited longest, and with it those that are nearest in length, so that little is computed on
padding. A batch that is not full waits a moment for more; while a device computes, what arrives gathers by itself.
One song asked for twice at the same time is scored once.

What was learned elsewhere: Triton's dynamic batcher bounds the queue and the delay, text-embeddings-inference counts
what a batch costs (padded tokens) rather than its items and passes over those whose client has gone.
"""

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, NamedTuple

from cmi_bench.scoring.batching import BatchLimits
from cmi_bench.scoring.requests import Request
from cmi_bench.serving.wire import ErrorCode
from cmi_bench.types import Score


class SongAnswer(NamedTuple):
    """What came of a song."""

    score: Score
    code: ErrorCode | None = None
    """Of a score that failed."""

    @classmethod
    def failed(cls, code: ErrorCode, reason: str) -> "SongAnswer":
        """Return the answer of a song that could not be scored."""
        return cls(Score.failed(reason), code)


class Whereabouts(Enum):
    """Where a song is on its way."""

    WAITING = auto()
    DECODING = auto()
    READY = auto()
    SCORING = auto()


@dataclass(eq=False)
class QueuedSong:
    """A song on its way through the queue."""

    model: str
    """By its name on the server."""
    request: Request
    release: Callable[[], None]
    """Removes its files; called once, when nothing needs them any more."""
    loaded: Any = None
    """What was decoded, in the form that its model takes."""
    place: Whereabouts = Whereabouts.WAITING
    arrived: float = field(default_factory=time.monotonic)
    ready: float = math.inf
    """When it was decoded."""
    answers: list["Future[SongAnswer]"] = field(default_factory=list)
    """One for each who waits for it."""

    @property
    def key(self) -> tuple[str, str]:
        """What is the same for songs that one score answers."""
        return self.model, self.request.key

    @property
    def seconds(self) -> float:
        """How much audio is looked at."""
        return self.request.seconds


class QueueBounds(NamedTuple):
    """What a queue takes."""

    songs: int
    """Taken and not yet answered, at most, with those whose bodies are on their way."""
    seconds: float
    """Of audio that is looked at, of all these songs."""
    ahead: float
    """Seconds of audio that are decoded and not yet scored, at most; a longer song is decoded alone."""
    patience: float
    """Seconds that a batch which is not full waits for more songs."""


class QueueFullError(Exception):
    """There is no room."""

    def __init__(self, songs: int, retry_after: int) -> None:
        super().__init__(f"{songs} songs are waiting")
        self.songs = songs
        """How many are on their way."""
        self.retry_after = retry_after
        """Seconds until there should be room."""


class QueueClosedError(Exception):
    """Nothing is taken any more."""


LONGEST_RETRY = 120
"""Seconds; who comes again after so long may find another server there."""
UNKNOWN_RETRY = 5
"""Seconds, before anything was scored."""
SMOOTHING = 0.2
"""Weight of the last batch in the measured rate."""


class SongQueue:
    """The songs on their way; threads of the server, of decoding and of devices meet here."""

    def __init__(self, bounds: QueueBounds) -> None:
        self.bounds = bounds
        self._songs: dict[tuple[str, str], QueuedSong] = {}
        """In the order of arrival."""
        self._receiving = 0
        self._seconds = 0.0
        self._ahead = 0.0
        self._song_seconds: dict[str, float] = {}
        """Seconds that a song takes, by device."""
        self._is_closed = False
        self._changed = threading.Condition()

    @contextmanager
    def receiving(self) -> Iterator[None]:
        """Hold a place while a body is on its way.

        Raises:
            QueueFullError: There is none.
            QueueClosedError: The server is about to end.
        """
        with self._changed:
            self._check_open()
            self._check_room(1 + self._receiving, 0.0)
            self._receiving += 1
        try:
            yield
        finally:
            with self._changed:
                self._receiving -= 1

    def join(self, songs: Sequence[QueuedSong]) -> list["Future[SongAnswer]"]:
        """Take songs, all or none; of one that is there already, its files are released and its score is shared.

        Returns:
            Where each song's answer will be.

        Raises:
            QueueFullError: There is no room for all of them.
            QueueClosedError: The server is about to end.
        """
        double = []
        with self._changed:
            self._check_open()
            new = {song.key: song for song in reversed(songs) if song.key not in self._songs}
            self._check_room(len(new), sum(song.seconds for song in new.values()))
            answers = []
            for song in songs:
                there = self._songs.setdefault(song.key, song)
                if there is song:
                    self._seconds += song.seconds
                else:
                    double.append(song)
                waiting: Future[SongAnswer] = Future()
                there.answers.append(waiting)
                answers.append(waiting)
            self._changed.notify_all()
        for song in double:
            song.release()
        return answers

    def leave(self, answers: Sequence["Future[SongAnswer]"]) -> int:
        """Forget who waited for these answers; a song for which nobody waits, and that is not being scored, goes.

        Returns:
            How many songs went.
        """
        gone, count = [], 0
        with self._changed:
            unwanted = set(answers)
            for song in list(self._songs.values()):
                if unwanted.isdisjoint(song.answers):
                    continue
                song.answers = [waiting for waiting in song.answers if waiting not in unwanted]
                if song.answers or song.place is Whereabouts.SCORING:
                    continue
                count += 1
                if song.place is not Whereabouts.DECODING:  # else it goes when it is decoded
                    gone.append(song)
                    self._remove(song)
            self._changed.notify_all()
        for song in gone:
            song.release()
        return count

    def next_to_decode(self) -> QueuedSong | None:
        """Return the song to decode next, as soon as there is one; None when no more will come."""
        with self._changed:
            while True:
                song = next((one for one in self._songs.values() if one.place is Whereabouts.WAITING), None)
                if song is not None and (not self._ahead or self._ahead + song.seconds <= self.bounds.ahead):
                    song.place = Whereabouts.DECODING
                    self._ahead += song.seconds
                    return song
                if self._is_closed and song is None:
                    return None
                self._changed.wait()

    def decoded(self, song: QueuedSong, loaded: Any) -> None:
        """Take a song that was decoded."""
        with self._changed:
            if song.answers:
                song.loaded, song.place, song.ready = loaded, Whereabouts.READY, time.monotonic()
                self._changed.notify_all()
                return
            self._remove(song)  # everybody has gone meanwhile
        song.release()

    def next_batch(self, limits: Mapping[str, BatchLimits]) -> list[QueuedSong] | None:
        """Return songs of one model to score together, as soon as there are any; None when no more will come.

        Args:
            limits: How large a batch may get, by the model's name.
        """
        with self._changed:
            while True:
                ready = [song for song in self._songs.values() if song.place is Whereabouts.READY]
                wait = None
                if ready:
                    oldest = min(ready, key=lambda song: song.arrived)
                    of_model = [song for song in ready if song.model == oldest.model]
                    batch, is_full = nearest(oldest, of_model, limits[oldest.model])
                    wait = oldest.ready + self.bounds.patience - time.monotonic()
                    if is_full or wait <= 0 or self._is_closed:
                        for song in batch:
                            song.place = Whereabouts.SCORING
                            self._ahead -= song.seconds
                        self._changed.notify_all()
                        return batch
                elif self._is_closed and not self._songs:
                    return None
                self._changed.wait(wait)

    def answer(self, song: QueuedSong, answer: SongAnswer) -> None:
        """Give a song's answer to all who wait for it; the song is done."""
        with self._changed:
            if self._songs.get(song.key) is not song:
                return
            self._remove(song)
            self._changed.notify_all()
        song.release()
        for waiting in song.answers:
            if waiting.set_running_or_notify_cancel():
                waiting.set_result(answer)

    def worked(self, device: str, songs: int, seconds: float) -> None:
        """Take note of how long a device took for a batch, with what it waited for while there was work."""
        with self._changed:
            taken = seconds / songs
            before = self._song_seconds.get(device, taken)
            self._song_seconds[device] = (1 - SMOOTHING) * before + SMOOTHING * taken

    def close(self) -> None:
        """Take no more songs; those that are there are still scored."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    @property
    def rate(self) -> float:
        """Songs that all devices score in a second, measured; 0 before anything was scored."""
        with self._changed:
            return sum(1 / seconds for seconds in self._song_seconds.values() if seconds)

    def counts(self) -> dict[Whereabouts, int]:
        """Return how many songs there are at each place."""
        with self._changed:
            found = Counter(song.place for song in self._songs.values())
        return {place: found[place] for place in Whereabouts}

    @property
    def seconds(self) -> float:
        """How much audio all songs have together."""
        with self._changed:
            return self._seconds

    def __len__(self) -> int:
        with self._changed:
            return len(self._songs)

    def retry_after(self) -> int:
        """Return the seconds in which half of the songs should be answered."""
        rate = self.rate
        if not rate:
            return UNKNOWN_RETRY
        return min(max(math.ceil(len(self) / 2 / rate), 1), LONGEST_RETRY)

    def _check_open(self) -> None:
        if self._is_closed:
            raise QueueClosedError

    def _check_room(self, songs: int, seconds: float) -> None:
        is_full = len(self._songs) + songs > self.bounds.songs
        # A song that is longer than all that may wait together is taken where nothing else waits.
        if is_full or (self._songs and self._seconds + seconds > self.bounds.seconds):
            raise QueueFullError(len(self._songs) + self._receiving, self.retry_after())

    def _remove(self, song: QueuedSong) -> None:
        del self._songs[song.key]
        self._seconds -= song.seconds
        if song.place in (Whereabouts.DECODING, Whereabouts.READY):
            self._ahead -= song.seconds
        if not self._songs:
            self._seconds = 0.0  # what rounding left
        if all(one.place in (Whereabouts.WAITING, Whereabouts.SCORING) for one in self._songs.values()):
            self._ahead = 0.0


class ChosenBatch(NamedTuple):
    """Songs to score together."""

    songs: list[QueuedSong]
    is_full: bool
    """Whether no further song of this length would have a place."""


def nearest(oldest: QueuedSong, songs: Sequence[QueuedSong], limits: BatchLimits) -> ChosenBatch:
    """Choose the songs that are scored together with the one that has waited longest.

    Args:
        oldest: Is in the batch, also where it alone is longer than the limit.
        songs: All that may be, `oldest` among them.
        limits: How large the batch may get.

    Returns:
        The nearest in length, the longest first.
    """
    batch, seconds = [oldest], oldest.seconds
    by_distance = sorted((song for song in songs if song is not oldest), key=lambda song: _distance(oldest, song))
    for song in by_distance:
        if len(batch) >= limits.items or seconds + song.seconds > limits.seconds:
            break
        batch.append(song)
        seconds += song.seconds
    is_full = len(batch) >= limits.items or seconds + oldest.seconds > limits.seconds or len(batch) < len(songs)
    return ChosenBatch(sorted(batch, key=lambda song: song.seconds, reverse=True), is_full)


def _distance(one: QueuedSong, other: QueuedSong) -> tuple[float, float]:
    return abs(one.seconds - other.seconds), other.arrived
