"""`AsyncRewardClient`: songs in, receipts out, within an event loop."""

import asyncio
import logging
import math
import os
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx2
from pydantic import BaseModel, ValidationError

from cmi_bench import __version__
from cmi_bench.api.ranking import By, Criterion, RankedSong, criterion, ranked
from cmi_bench.api.songs import Song, checked_on_error
from cmi_bench.client.errors import Patience, RewardServerError, refusal, silence, unreadable
from cmi_bench.client.uploads import SentAudio, Upload, sent_song, upload_of
from cmi_bench.config import OnError
from cmi_bench.errors import UserError
from cmi_bench.serving.wire import (
    BatchAnswer,
    ErrorCode,
    HealthAnswer,
    ModelDescription,
    ModelsAnswer,
    Problem,
    Receipt,
    ServedModel,
    ServerState,
)
from cmi_bench.utils.files import without_credentials

log = logging.getLogger(__name__)

T = TypeVar("T")
Answer = TypeVar("Answer", bound=BaseModel)

TOKEN_VARIABLE = "CMI_BENCH_TOKEN"
"""Environment variable that has the server's token, where none is given."""
CONNECT_SECONDS = 10.0
POLL_SECONDS = 0.5
"""Between questions whether a server is ready."""


class AsyncRewardClient:
    """Scores songs with a reward server; `RewardClient` with `await`.

    What is said there holds here too. A client may be used in one event loop after the other.
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
        """Take the server's address; nothing is sent yet. The arguments are those of `RewardClient`."""
        self.url = checked_url(url)
        self.model = model
        self.concurrency = concurrency
        self.timeout = timeout
        if concurrency < 1:
            raise UserError(f"concurrency={concurrency} is not positive.", "It says how many songs are sent at once.")
        if timeout <= 0 or patience < 0:
            raise UserError(f"timeout={timeout:g}, patience={patience:g}.", "They are in seconds, timeout above 0.")
        self._patience = Patience(patience, seed)
        self._token = os.environ.get(TOKEN_VARIABLE, "") if token is None else token
        self._is_known = False
        self._pool: tuple[asyncio.AbstractEventLoop, httpx2.AsyncClient] | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {without_credentials(self.url)}>"

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_pool": None}

    async def score(
        self,
        audio: "SentAudio",
        *,
        text: str = "",
        lyrics: str = "",
        ref_audio: "SentAudio | None" = None,
        sample_rate: int | None = None,
    ) -> Receipt:
        """Score one song; see `RewardClient.score`."""
        given = Song("", text, lyrics, ref_audio, sample_rate)  # type: ignore[arg-type]  # more kinds of audio
        return await self.receipt(self.upload(audio, given, 0, OnError.fail), 0, OnError.fail)

    async def score_batch(
        self,
        songs: "Iterable[Song | Mapping[str, Any] | SentAudio]",
        *,
        text: str = "",
        lyrics: str = "",
        ref_audio: "SentAudio | None" = None,
        sample_rate: int | None = None,
        on_error: str = "record",
    ) -> list[Receipt]:
        """Score songs, several at once; see `RewardClient.score_batch`."""
        given = Song("", text, lyrics, ref_audio, sample_rate)  # type: ignore[arg-type]
        way = checked_on_error(on_error)
        ahead = enumerate(songs)
        found: dict[int, Receipt] = {}

        async def work(ahead: Iterator[tuple[int, Any]]) -> None:
            for index, song in ahead:
                found[index] = await self.receipt(self.upload(song, given, index, way), index, way)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self.concurrency):
                    group.create_task(work(ahead))
        except BaseExceptionGroup as error:
            # The first failure has ended the others: it is what there is to say.
            raise error.exceptions[0] from None
        return [found[index] for index in sorted(found)]

    async def rank(
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
        """Score songs and put the best first; see `RewardClient.rank`."""
        rule = criterion(by, weight)
        receipts = await self.score_batch(
            songs, text=text, lyrics=lyrics, ref_audio=ref_audio, sample_rate=sample_rate, on_error=on_error
        )
        given = Song("", text, lyrics, ref_audio, sample_rate)  # type: ignore[arg-type]
        return by_receipts([sent_song(song, given, index) for index, song in enumerate(songs)], receipts, rule, top_k)

    async def models(self) -> ModelsAnswer:
        """Ask what the server scores with, and what it takes."""
        return await self._patiently(lambda: self._get("/models", ModelsAnswer), 0)

    async def health(self) -> HealthAnswer:
        """Ask whether the server is ready; a server that is not yet, or not any more, says so."""
        return await self._get("/health", HealthAnswer, also=503)

    async def wait_until_ready(self, seconds: float = 600.0) -> HealthAnswer:
        """Wait for a server that is being started; see `RewardClient.wait_until_ready`."""
        start = time.monotonic()
        while True:
            try:
                health = await self.health()
                if health.state is ServerState.READY:
                    return health
                last = RewardServerError(
                    Problem(code=ErrorCode.NOT_READY, what=f"{without_credentials(self.url)} is {health.state}.")
                )
            except RewardServerError as error:
                if not error.is_passing:
                    raise
                last = error
            if time.monotonic() - start + POLL_SECONDS > seconds:
                raise last
            await asyncio.sleep(POLL_SECONDS)

    async def aclose(self) -> None:
        """Close the connections; the next call makes new ones."""
        pool, self._pool = self._pool, None
        if pool is not None and pool[0] is asyncio.get_running_loop():
            await pool[1].aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    @property
    def _http(self) -> httpx2.AsyncClient:
        """The connections of the running loop: those of another one cannot be used."""
        loop = asyncio.get_running_loop()
        if self._pool is None or self._pool[0] is not loop:
            headers = {"User-Agent": f"cmi-bench/{__version__}"}
            if self._token:
                headers["Authorization"] = f"Bearer {self._token}"
            client = httpx2.AsyncClient(
                base_url=self.url,
                headers=headers,
                # Songs wait for a connection as long as it takes: no more than these are sent at once.
                timeout=httpx2.Timeout(self.timeout, connect=min(CONNECT_SECONDS, self.timeout), pool=None),
                limits=httpx2.Limits(max_connections=self.concurrency, max_keepalive_connections=self.concurrency),
                trust_env=False,  # proxies are for other networks
                verify=self.url.startswith("https:"),  # without TLS, certificates would be read for nothing
            )
            self._pool = loop, client
        return self._pool[1]

    def upload(self, song: Any, given: Song, index: int, on_error: OnError) -> Upload | Problem:
        """Return a song as it is sent, or why it cannot be.

        To be called in the thread that made the song: a tensor's values may not be there yet for another one.

        Args:
            song: A song, a mapping with its fields, or audio alone.
            given: Has the instruction and the sampling rate of audio that comes alone.
            index: Its place in a batch, from 0.
            on_error: Whether a song that cannot be sent has a receipt.

        Raises:
            UserError: It is no song; or it cannot be sent, and is not to have a receipt.
        """
        one = sent_song(song, given, index)
        try:
            return upload_of(one, index, self.model)
        except UserError as error:
            if on_error is OnError.fail:
                raise
            return _unreadable_audio(error)

    async def receipt(self, upload: Upload | Problem, index: int, on_error: OnError) -> Receipt:
        """Return a song's receipt.

        Args:
            upload: Of `upload`.
            index: Its place in a batch, from 0.
            on_error: Whether a song that cannot be scored has a receipt.

        Raises:
            UserError: There is none.
        """
        if isinstance(upload, Problem):
            return await self._without_scores(upload)
        try:
            receipt = await self._patiently(lambda: self._attempt(upload), index)
        except RewardServerError as error:
            if not error.is_of_the_song:
                raise
            if on_error is OnError.fail:
                raise error.about(upload.name) from None
            return await self._without_scores(error.problem)
        except UserError as error:  # a file is missing
            if on_error is OnError.fail:
                raise
            return await self._without_scores(_unreadable_audio(error))
        if receipt.error is not None and on_error is OnError.fail:
            raise _of_receipt(receipt.error).about(upload.name)
        return receipt

    async def _patiently(self, ask: Callable[[], Awaitable[T]], index: int) -> T:
        """Ask until there is an answer, or no more hope of one."""
        start, attempt = time.monotonic(), 0
        while True:
            attempt += 1
            try:
                return await ask()
            except RewardServerError as error:
                elapsed = time.monotonic() - start
                wait = self._patience.wait(error, attempt=attempt, elapsed=elapsed, song=index, is_known=self._is_known)
                if wait is None:
                    raise
                log.info("%s Again in %.1f s.", error.what, wait)
            await asyncio.sleep(wait)

    async def _attempt(self, upload: Upload) -> Receipt:
        url = f"{self.url}/v1/score_batch"
        with upload.opened() as files:
            try:
                if files:
                    form = {"request": upload.request}
                    response = await self._http.post("/v1/score_batch", data=form, files=files)
                else:
                    json = {"Content-Type": "application/json"}
                    response = await self._http.post("/v1/score_batch", content=upload.request, headers=json)
            except httpx2.TransportError as error:
                raise silence(error, self.url, self.timeout) from None
        self._is_known = True
        if not response.is_success:
            raise refusal(response)
        receipts = _read(response, BatchAnswer).receipts
        if len(receipts) != 1:
            raise unreadable(url, f"{len(receipts)} receipts for one song")
        problem = receipts[0].error
        if problem is not None and problem.code.is_passing:
            raise _of_receipt(problem)
        return receipts[0]

    async def _without_scores(self, problem: Problem) -> Receipt:
        """Return the receipt of a song that has no scores."""
        models = (await self.models()).models
        asked = [one for one in models if self.model in (None, one.name)]
        if not asked:
            raise unreadable(self.url, f"it has no model {self.model!r}")
        return Receipt(error=problem, model=_served(asked[0]), settings=asked[0].settings)

    async def _get(self, path: str, answer: type[Answer], *, also: int = 200) -> Answer:
        try:
            response = await self._http.get(path)
        except httpx2.TransportError as error:
            raise silence(error, self.url, self.timeout) from None
        self._is_known = True
        if not response.is_success and response.status_code != also:
            raise refusal(response)
        return _read(response, answer)


def _unreadable_audio(error: UserError) -> Problem:
    return Problem(code=ErrorCode.UNREADABLE_AUDIO, what=error.what, hint=error.hint)


def _of_receipt(problem: Problem) -> RewardServerError:
    return RewardServerError(problem, status=problem.code.status, is_passing=problem.code.is_passing)


def by_receipts(
    songs: Sequence[Song], receipts: Sequence[Receipt], rule: Criterion, top_k: int | None
) -> list[RankedSong]:
    """Return songs with their receipts, the best first; one without scores is left out.

    Raises:
        UserError: The model does not judge what is ranked by, or `top_k` is not above 0.
    """
    scores = [receipt.score for receipt in receipts]
    if receipts:
        rule.check(scores, receipts[0].model.name)
    return ranked(songs, scores, [_spread(receipt, rule) for receipt in receipts], rule, top_k)


def _spread(receipt: Receipt, rule: Criterion) -> float:
    """Return the spread of what is ranked by; NaN of a mean, of which a receipt does not tell."""
    spread = {By.MUSICALITY: receipt.musicality_spread, By.ALIGNMENT: receipt.alignment_spread}.get(rule.by)
    return math.nan if spread is None else spread


def _served(model: ModelDescription) -> ServedModel:
    return ServedModel(**{name: getattr(model, name) for name in ServedModel.model_fields})


def _read(response: httpx2.Response, answer: type[Answer]) -> Answer:
    try:
        return answer.model_validate_json(response.content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise unreadable(str(response.request.url), f"{where} {first['msg']}".strip()) from None


def checked_url(url: str) -> str:
    """Return a server's address without a slash at the end.

    Raises:
        UserError: It is none.

    >>> checked_url("http://127.0.0.1:8000/")
    'http://127.0.0.1:8000'
    """
    try:
        parsed = httpx2.URL(url)
    except (httpx2.InvalidURL, TypeError):
        parsed = httpx2.URL("")
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise UserError(f"{url!r} is no address of a server.", "It is one such as http://127.0.0.1:8000.")
    return url.rstrip("/")
