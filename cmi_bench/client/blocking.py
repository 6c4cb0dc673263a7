"""`RewardClient`: songs in, receipts out, for programs without an event loop."""

import asyncio
import os
import threading
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, FIRST_EXCEPTION, Future, wait
from types import TracebackType
from typing import Any, Self, TypeVar

from cmi_bench.api.ranking import RankedSong, criterion
from cmi_bench.api.songs import Song, checked_on_error
from cmi_bench.client.asynchronous import AsyncRewardClient, by_receipts
from cmi_bench.client.uploads import SentAudio, sent_song
from cmi_bench.config import OnError
from cmi_bench.serving.wire import HealthAnswer, ModelsAnswer, Receipt

T = TypeVar("T")


class RewardClient:
    """Scores songs with a reward server (`cmi-bench serve`).

    Audio is a file's path or its bytes, an array or tensor with its sampling rate, a tuple (array, sampling rate), or
    a `ServerFile` below the server's `--audio-root`; arrays as `SongScorer` takes them. The scores are those that
    `cmi-bench score` gives the same bytes.

    A song that the server cannot take at the moment (its queue is full, it is being restarted, the connection broke)
    is sent again, after the time that the server asks for; scoring twice does no harm. Connections are kept. A client
    may be used by several threads, in forked processes, and inside of a running event loop; it can be pickled.
    """

    def __init__(
        self,
        url: str,
        *,
        model: str | None = None,
        token: str | None = None,
        concurrency: int = 16,
        timeout: float = 300.0,
        patience: float = 300.0,
        seed: int = 0,
    ) -> None:
        """Take the server's address; nothing is sent yet.

        Args:
            url: Such as "http://127.0.0.1:8000".
            model: Its name on the server; None where the server has one.
            token: The server's; None takes the one in the environment's CMI_BENCH_TOKEN, "" sends none.
            concurrency: Songs that are on their way at once.
            timeout: Seconds without a byte of an answer, for each attempt.
            patience: Seconds for which a song is tried again, in all; 0 tries once.
            seed: Of what is added to waits, so that many clients do not come again together: a process's number.

        Raises:
            UserError: The address is none, or a number makes no sense.
        """
        self._client = AsyncRewardClient(
            url, model=model, token=token, concurrency=concurrency, timeout=timeout, patience=patience, seed=seed
        )

    def __repr__(self) -> str:
        return repr(self._client).replace(type(self._client).__name__, type(self).__name__)

    def score(
        self,
        audio: "SentAudio",
        *,
        text: str = "",
        lyrics: str = "",
        ref_audio: "SentAudio | None" = None,
        sample_rate: int | None = None,
    ) -> Receipt:
        """Score one song.

        Args:
            audio: The song.
            text: The prompt it was made from.
            lyrics: The lyrics it was to have.
            ref_audio: The reference audio it was made from.
            sample_rate: Hz, of `audio` and `ref_audio` where they are arrays that come without.

        Returns:
            The scores, None for what the model does not judge; and what settles them: the model, its settings, the
            SHA-256 of the audio.

        Raises:
            RewardServerError: The server refuses the song, or is not to be reached.
            UserError: The song is none, or its file is missing.
        """
        given = Song("", text, lyrics, ref_audio, sample_rate)  # type: ignore[arg-type]  # more kinds of audio
        upload = self._client.upload(audio, given, 0, OnError.fail)
        return _run(self._client.receipt(upload, 0, OnError.fail))

    def score_batch(
        self,
        songs: "Iterable[Song | Mapping[str, Any] | SentAudio]",
        *,
        text: str = "",
        lyrics: str = "",
        ref_audio: "SentAudio | None" = None,
        sample_rate: int | None = None,
        on_error: str = "record",
    ) -> list[Receipt]:
        """Score songs, `concurrency` of them at once.

        Args:
            songs: Each a `cmi_bench.Song`, a mapping with its fields, or audio alone, for which the rest of the
                arguments hold. They are taken as they are sent: a generator need not have them all in memory.
            text: The prompt.
            lyrics: The lyrics.
            ref_audio: The reference audio.
            sample_rate: Hz, of arrays that come without.
            on_error: "record" gives a song that cannot be scored a receipt that says in `error` why; "fail" raises.

        Returns:
            A receipt for each song, in their order.

        Raises:
            RewardServerError: The server is not to be reached, wants another token, or stays busy; or a song cannot be
                scored, and `on_error` is "fail".
        """
        way = checked_on_error(on_error)
        given = Song("", text, lyrics, ref_audio, sample_rate)  # type: ignore[arg-type]  # more kinds of audio
        asked: list[Future[Receipt]] = []
        underway: set[Future[Receipt]] = set()
        try:
            # Here, not in the event loop's thread: what makes the songs may be at home in this one only.
            for index, song in enumerate(songs):
                upload = self._client.upload(song, given, index, way)
                asked.append(_started(self._client.receipt(upload, index, way)))
                underway.add(asked[-1])
                if len(underway) >= self._client.concurrency:
                    underway = _checked(*wait(underway, return_when=FIRST_COMPLETED))
            _checked(*wait(underway, return_when=FIRST_EXCEPTION))
            return [one.result() for one in asked]
        finally:
            for one in asked:
                one.cancel()

    def rank(
        self,
        songs: "Sequence[Song | Mapping[str, Any] | SentAudio]",
        *,
        text: str = "",
        lyrics: str = "",
        ref_audio: "SentAudio | None" = None,
        sample_rate: int | None = None,
        by: str = "musicality",
        weight: float = 0.5,
        top_k: int | None = None,
        on_error: str = "fail",
    ) -> list[RankedSong]:
        """Score songs and put the best first: best of N.

        Args:
            songs: As for `score_batch`, as are the arguments up to `sample_rate`.
            text: The prompt.
            lyrics: The lyrics.
            ref_audio: The reference audio.
            sample_rate: Hz, of arrays that come without.
            by: "musicality", "alignment", or "mean".
            weight: Of musicality in the mean, 0 to 1; alignment has the rest.
            top_k: How many of the best; None for all.
            on_error: "fail" raises for a song that cannot be scored; "record" leaves it out.

        Returns:
            The songs, the best first; of equal ones the one given first.

        Raises:
            RewardServerError: As for `score_batch`.
            UserError: The model does not judge what is to be ranked by.
        """
        rule = criterion(by, weight)
        receipts = self.score_batch(
            songs, text=text, lyrics=lyrics, ref_audio=ref_audio, sample_rate=sample_rate, on_error=on_error
        )
        given = Song("", text, lyrics, ref_audio, sample_rate)  # type: ignore[arg-type]
        return by_receipts([sent_song(song, given, index) for index, song in enumerate(songs)], receipts, rule, top_k)

    def models(self) -> ModelsAnswer:
        """Ask what the server scores with, and what it takes."""
        return _run(self._client.models())

    def health(self) -> HealthAnswer:
        """Ask whether the server is ready; a server that is not yet, or not any more, says so."""
        return _run(self._client.health())

    def wait_until_ready(self, seconds: float = 600.0) -> HealthAnswer:
        """Wait for a server that is being started.

        Raises:
            RewardServerError: It is not ready after so many seconds, or is no reward server.
        """
        return _run(self._client.wait_until_ready(seconds))

    def close(self) -> None:
        """Close the connections; the next call makes new ones."""
        _run(self._client.aclose())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


_lock = threading.Lock()
_loop: tuple[int, asyncio.AbstractEventLoop] | None = None
"""The process, and its event loop, which runs in a thread of its own as long as the process lives."""


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Return what a coroutine comes to; where that is not waited for, as after Ctrl-C, it is given up."""
    future = _started(work)
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


def _started(work: Coroutine[Any, Any, T]) -> "Future[T]":
    return asyncio.run_coroutine_threadsafe(work, _running_loop())


def _checked(done: "set[Future[Receipt]]", underway: "set[Future[Receipt]]") -> "set[Future[Receipt]]":
    """Return the songs that are still on their way; raise what one of the others has met."""
    for one in done:
        one.result()
    return underway


def _running_loop() -> asyncio.AbstractEventLoop:
    global _loop
    with _lock:
        if _loop is None or _loop[0] != os.getpid():  # a forked process has the loop, and not its thread
            loop = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="reward-client", daemon=True).start()
            _loop = os.getpid(), loop
        return _loop[1]
