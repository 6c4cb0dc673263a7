"""A server on loopback that speaks the wire format and has no model: what clients meet, faults among it."""

import hashlib
import json
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from loopback import on_loopback
from werkzeug import Request, Response

from cmi_bench.serving.wire import (
    BatchAnswer,
    BatchRequest,
    ErrorAnswer,
    ErrorCode,
    HealthAnswer,
    Limits,
    ModelDescription,
    ModelsAnswer,
    Problem,
    Receipt,
    ServedModel,
    ServerState,
    Settings,
)

SERVED = ServedModel(name="toy", identity="toy 1", weights=None, code="c0de")
SETTINGS = Settings(max_dur=120.0, precision="32")


@dataclass
class Asked:
    """A song as it came."""

    request: BatchRequest
    audio: bytes
    """Empty where it lies on the server."""
    token: str | None
    kind: str
    """Of the body."""
    time: float


@dataclass
class WireServer:
    """What it answers next, and what it was asked."""

    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    faults: list[Response] = field(default_factory=list)
    """Answered first, one each."""
    scores: dict[bytes, Receipt] = field(default_factory=dict)
    """By the audio that came; any other is given a score by its bytes."""
    state: ServerState = ServerState.READY
    seconds: float = 0.0
    """Spent on each song."""
    most_at_once: int = 0
    _now: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, request: Request) -> Response:
        if request.path == "/health":
            health = HealthAnswer(state=self.state, queued=0, uptime=1.0)
            return _json(health, 200 if self.state is ServerState.READY else 503)
        if request.path == "/models":
            model = ModelDescription(
                **SERVED.model_dump(), settings=SETTINGS, sample_rate=16000, unused_inputs=[], devices=["cpu"]
            )
            limits = Limits(max_bytes=10**8, max_seconds=1200.0, max_songs=64)
            return _json(ModelsAnswer(models=[model], limits=limits, version="0"))
        if request.path != "/v1/score_batch":
            return refused(ErrorCode.NOT_FOUND, f"There is no {request.path}.")
        return self.score(request)

    def score(self, request: Request) -> Response:
        with self._lock:
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        try:
            asked = _asked(request)
            with self._lock:
                self.asked.append(asked)
                fault = self.faults.pop(0) if self.faults else None
            time.sleep(self.seconds)
            if fault is not None:
                return fault
            return _json(BatchAnswer(receipts=[self.scores.get(asked.audio) or receipt(toy_score(asked.audio))]))
        finally:
            with self._lock:
                self._now -= 1


def _asked(request: Request) -> Asked:
    audio = b""
    if request.mimetype == "application/json":
        body = request.get_data()
    else:
        body = request.form["request"].encode()
        name = json.loads(body)["songs"][0]["audio"].get("part")
        audio = request.files[name].read() if name else b""
    wire = BatchRequest.model_validate_json(body)
    return Asked(wire, audio, request.headers.get("Authorization"), request.mimetype, time.monotonic())


def toy_score(audio: bytes) -> float:
    """What the server thinks of bytes."""
    return int(hashlib.sha256(audio).hexdigest()[:6], 16) / 16**6


def receipt(musicality: float | None, *, error: Problem | None = None) -> Receipt:
    return Receipt(musicality=musicality, alignment=None, error=error, model=SERVED, settings=SETTINGS)


def refused(code: ErrorCode, what: str, *, retry_after: str | None = None, hint: str = "") -> Response:
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    response = _json(ErrorAnswer(error=Problem(code=code, what=what, hint=hint)), code.status)
    response.headers.extend(headers)
    return response


def _json(answer, status: int = 200) -> Response:
    return Response(answer.model_dump_json(), status, mimetype="application/json")


def frames(array) -> bytes:
    """Samples as they are sent."""
    return np.ascontiguousarray(array, dtype="<f4").tobytes()


@contextmanager
def wire_server(**given):
    server = WireServer(**given)
    with on_loopback(server.answer) as url:
        server.url = url
        yield server
