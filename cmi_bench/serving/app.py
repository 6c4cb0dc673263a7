"""The server's addresses: `POST /v1/score`, `POST /v1/score_batch`, `GET /health`, `/models`, `/metrics`, `/docs`."""

import asyncio
import base64
import hmac
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from fastapi import APIRouter, Depends, FastAPI
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import cmi_bench
from cmi_bench.serving.api_page import api_page
from cmi_bench.serving.openrlhf import openrlhf_router
from cmi_bench.serving.queue import QueueClosedError, QueueFullError
from cmi_bench.serving.receive import FORM, JSON, RAW, Received, Receiver, stopping
from cmi_bench.serving.refused import RefusedError
from cmi_bench.serving.service import RewardService
from cmi_bench.serving.spool import RequestFolder
from cmi_bench.serving.unirl import reward_names, unirl_router
from cmi_bench.serving.wire import (
    BatchAnswer,
    BatchRequest,
    ErrorAnswer,
    ErrorCode,
    HealthAnswer,
    ModelsAnswer,
    Problem,
    Receipt,
    ScoreRequest,
    ServerState,
    SongFields,
    schema_of,
)

log = logging.getLogger(__name__)

T = TypeVar("T")
Asked = TypeVar("Asked", bound=BaseModel)
Read = Callable[[Request, RequestFolder], Awaitable[Received]]
CLIENT_GONE = 499
"""The status of a request whose client did not wait; nobody sees it but `/metrics`."""
OTHER = "other"
"""The path of requests to no address of the server, in the metrics: there may be any number."""


class RewardApp:
    """What the server's addresses share."""

    def __init__(self, service: RewardService, *, token: str | None = None, body_seconds: float = 60.0) -> None:
        """Take the service.

        Args:
            service: Scores.
            token: What requests have to show; None: nothing.
            body_seconds: How long the body of a request may take.
        """
        self.service = service
        self.receiver = Receiver(service.settings.limits, seconds=body_seconds)
        self._token = None if token is None else token.encode()

    def stop(self) -> None:
        """Take nothing more; from the event loop's thread."""
        self.service.stop()
        self.receiver.stop()

    async def check_token(self, request: Request) -> None:
        """Let nobody in who does not show the token.

        Raises:
            RefusedError: It is missing, or another one.
        """
        shown = shown_token(request.headers.get("authorization", ""))
        if self._token is not None and (shown is None or not hmac.compare_digest(shown, self._token)):
            what = "The request shows no token." if shown is None else "The token is not this server's."
            raise RefusedError(ErrorCode.UNAUTHORIZED, what, "Send the header `Authorization: Bearer TOKEN`.")

    async def body(self, request: Request, kind: type[Asked]) -> Asked:
        """Return a body that is JSON, and may have all the bytes that a request may have.

        Args:
            request: Its body has not been read.
            kind: What it should be.

        Raises:
            RefusedError: It is not right, or the models are being loaded.
            QueueFullError: There is no room.
            QueueClosedError: The server is about to end.
        """
        self.service.check_ready()
        with self.service.queue.receiving():
            return await self.receiver.json(request, kind)

    async def receipts(self, request: Request, read: Read) -> list[Receipt]:
        """Return the receipts of a request's songs.

        Args:
            request: Its body has not been read.
            read: Reads it.

        Raises:
            RefusedError: It is not right.
            QueueFullError: There is no room.
            QueueClosedError: The server is about to end.
            ClientDisconnect: The client did not wait.
        """
        self.service.check_ready()
        with self.service.spool.request() as folder:
            with self.service.queue.receiving():
                start = time.monotonic()
                received = await read(request, folder)
                self.service.metrics.stage("receive", time.monotonic() - start)
                taken = await self.service.take(received, folder)
            return await unless_gone(request, self.service.receipts(taken))


def shown_token(header: str) -> bytes | None:
    """Return the token in an `Authorization` header; None where there is none.

    Trainers that take an address and no header show it in there: of `http://any:TOKEN@host` HTTP clients make "Basic".

    >>> shown_token("Bearer secret"), shown_token("Basic YW55OnNlY3JldA=="), shown_token("")
    (b'secret', b'secret', None)
    """
    kind, _, shown = header.partition(" ")
    if kind.lower() == "bearer":
        return shown.strip().encode()
    if kind.lower() != "basic":
        return None
    try:
        return base64.b64decode(shown).partition(b":")[2]
    except ValueError:  # no base64
        return None


async def unless_gone(request: Request, work: Awaitable[T]) -> T:
    """Return what comes of some work; where the client goes, the work is cancelled.

    Raises:
        ClientDisconnect: It went.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_until_gone(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientDisconnect
    finally:
        leaving.cancel()
        working.cancel()


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def create_app(
    service: RewardService,
    *,
    token: str | None = None,
    body_seconds: float = 60.0,
    failed: Callable[[BaseException], None] = lambda error: log.error("%s", error),
) -> FastAPI:
    """Return the application; models are loaded from when it starts.

    Args:
        service: Scores.
        token: What requests have to show; None: nothing.
        body_seconds: How long the body of a request may take.
        failed: Called, in another thread, where a model cannot be loaded, or a GPU computes nothing more.
    """
    served = RewardApp(service, token=token, body_seconds=body_seconds)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start(failed)
        try:
            yield
        finally:
            await asyncio.to_thread(service.close)

    app = FastAPI(
        title="cmi-bench serve",
        version=cmi_bench.__version__,
        description="Scores songs with music reward models.",
        docs_url=None,  # pages that load scripts from the internet
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.served = served
    app.include_router(_scoring(served), dependencies=[Depends(served.check_token)])
    for router in (openrlhf_router(served), unirl_router(served)):
        app.include_router(router, dependencies=[Depends(served.check_token)])
    app.include_router(_watching(served))

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> Response:
        """Show what there is."""
        return HTMLResponse(api_page(app.openapi(), str(request.base_url)))

    _explain_errors(app, service)
    app.add_middleware(_Watched, service=service)  # type: ignore[arg-type]
    return app


def _scoring(served: RewardApp) -> APIRouter:
    router = APIRouter(responses={status: {"model": ErrorAnswer} for status in ("4XX", "5XX")})

    @router.post("/v1/score", response_model=Receipt, openapi_extra=_bodies(ScoreRequest, form=_song_form(), raw=True))
    async def score(request: Request) -> Response:
        """Score one song: a form with its file, raw samples, or a path below the server's `--audio-root`."""
        (receipt,) = await served.receipts(request, served.receiver.song)
        if receipt.error is not None:
            return _error(receipt.error)
        return _json(receipt)

    @router.post("/v1/score_batch", response_model=BatchAnswer, openapi_extra=_bodies(BatchRequest, form=_batch_form()))
    async def score_batch(request: Request) -> Response:
        """Score several songs: each has a receipt, and one that fails costs no other its score."""
        return _json(BatchAnswer(receipts=await served.receipts(request, served.receiver.songs)))

    @router.get("/models", response_model=ModelsAnswer)
    async def models() -> Response:
        """Return what the server scores with, and what it takes at once."""
        service = served.service
        described = [model.description for model in service.models.values()]
        return _json(ModelsAnswer(models=described, limits=service.settings.limits, version=cmi_bench.__version__))

    @router.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """Return counters and times in Prometheus' text format."""
        return Response(served.service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return router


def _watching(served: RewardApp) -> APIRouter:
    router = APIRouter()

    @router.get("/health", response_model=HealthAnswer, responses={503: {"model": HealthAnswer}})
    async def health() -> Response:
        """Tell whether the server takes songs; needs no token."""
        service = served.service
        uptime = time.monotonic() - service.started
        answer = HealthAnswer(
            state=service.state,
            queued=len(service.queue),
            uptime=round(uptime, 3),
            rewards={name: [service.state.value] for name in reward_names(service)},
        )
        return _json(answer, status=200 if service.state is ServerState.READY else 503)

    return router


def _json(answer: BaseModel, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(answer.model_dump_json(), status, headers, media_type=JSON)


def _error(problem: Problem, *, retry_after: int | None = None) -> Response:
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    if problem.code is ErrorCode.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return _json(ErrorAnswer(error=problem), status=problem.code.status, headers=headers)


_BY_STATUS = {404: ErrorCode.NOT_FOUND, 405: ErrorCode.METHOD_NOT_ALLOWED}


def _explain_errors(app: FastAPI, service: RewardService) -> None:
    """Answer every error in one form."""

    def refuse(error: RefusedError) -> Response:
        service.metrics.failure(error.problem.code)
        return _error(error.problem, retry_after=error.retry_after)

    @app.exception_handler(RefusedError)
    async def refused(_: Request, error: RefusedError) -> Response:
        return refuse(error)

    @app.exception_handler(QueueFullError)
    async def full(_: Request, error: QueueFullError) -> Response:
        what, hint = (
            f"{error.songs} songs are on their way, which is all that may be.",
            "Ask again later; see Retry-After.",
        )
        return refuse(RefusedError(ErrorCode.BUSY, what, hint, retry_after=error.retry_after))

    @app.exception_handler(QueueClosedError)
    async def closed(_: Request, error: QueueClosedError) -> Response:
        return refuse(stopping())

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=CLIENT_GONE)

    @app.exception_handler(HTTPException)
    async def no_route(request: Request, error: HTTPException) -> Response:
        code = _BY_STATUS.get(error.status_code, ErrorCode.BAD_REQUEST)
        what = f"There is no {request.method} {request.url.path}."
        return refuse(RefusedError(code, what, "GET /docs shows what there is."))


class _Watched:
    """Counts answers and how long they took; a failure of the server itself is logged, and answered as all are."""

    def __init__(self, app: ASGIApp, service: RewardService) -> None:
        self.app = app
        self.metrics = service.metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, status = time.monotonic(), CLIENT_GONE

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except Exception as error:
            log.exception("A request failed.")
            if status != CLIENT_GONE:  # the answer was begun
                raise
            self.metrics.failure(ErrorCode.FAILED)
            what = f"The server failed: {type(error).__name__}."
            failure = Problem(code=ErrorCode.FAILED, what=what, hint="Its log says more.")
            await _error(failure)(scope, receive, watched)
        finally:
            route = scope.get("route")
            self.metrics.answered(getattr(route, "path", OTHER), status, time.monotonic() - start)


def _bodies(kind: type[BaseModel], *, form: dict[str, Any], raw: bool = False) -> dict[str, Any]:
    """Return what the API's description says of a request's body: FastAPI does not read it, so it cannot know."""
    content: dict[str, Any] = {FORM: {"schema": form}, JSON: {"schema": schema_of(kind)}}
    extra: dict[str, Any] = {"requestBody": {"required": True, "content": content}}
    if raw:
        content[RAW] = {"schema": {"type": "string", "format": "binary", "description": "float32, little-endian"}}
        fields = schema_of(SongFields)["properties"]
        extra["parameters"] = [
            {"name": name, "in": "query", "required": False, "schema": field, "description": f"Of {RAW}."}
            for name, field in fields.items()
        ]
    return extra


def _song_form() -> dict[str, Any]:
    file = {"type": "string", "format": "binary"}
    fields = schema_of(SongFields)["properties"]
    return {"type": "object", "required": ["audio"], "properties": {"audio": file, "ref_audio": file, **fields}}


def _batch_form() -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["request"],
        "properties": {"request": schema_of(BatchRequest)},
        "additionalProperties": {"type": "string", "format": "binary", "description": "The files that songs name."},
    }
