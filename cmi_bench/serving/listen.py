"""The server as a process: a socket, uvicorn, slow clients, and an end that leaves nobody without an answer."""

import asyncio
import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from types import FrameType

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from cmi_bench.errors import UserError
from cmi_bench.serving.wire import ErrorAnswer, ErrorCode, Problem

PATIENCE = 20.0
"""Seconds that a client has for its headers, for a body that was refused, and for reading its answer."""
KEEP_ALIVE = 75
"""Seconds that a connection may be idle between two requests; longer than clients' pools wait for the next."""
BACKLOG = 2048


class PatientProtocol(H11Protocol):
    """Uvicorn's HTTP/1.1, with an end to what it waits for without one: headers, refused bodies, and readers.

    Uvicorn's time-out between two requests ends with the first byte of the next one, and its others are about its own
    end; bodies are the application's to bound.
    """

    patience = PATIENCE
    _deadline: asyncio.TimerHandle | None = None
    _writing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for headers."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Take bytes."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Go on to the next request, or to the rest of a body that was refused."""
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        super().connection_lost(exc)
        for timer in (self._deadline, self._writing):
            if timer is not None:
                timer.cancel()

    def pause_writing(self) -> None:
        """Begin to wait for a client that does not read its answer."""
        super().pause_writing()
        self._writing = self.loop.call_later(self.patience, self.transport.abort)

    def resume_writing(self) -> None:
        """It reads."""
        super().resume_writing()
        if self._writing is not None:
            self._writing.cancel()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP in the form of all errors."""
        problem = Problem(code=ErrorCode.BAD_REQUEST, what=msg, hint="Speak HTTP/1.1.")
        body = ErrorAnswer(error=problem).model_dump_json().encode()
        headers = [
            ("content-type", "application/json"),
            ("content-length", str(len(body))),
            ("connection", "close"),
        ]
        with contextlib.suppress(h11.LocalProtocolError):  # an answer was begun already
            for event in (h11.Response(status_code=400, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _watch(self) -> None:
        """Keep time while the client has to send something that the application does not wait for."""
        is_answering = self.cycle is not None and not self.cycle.response_complete
        is_idle = self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0] and self.cycle is not None
        if is_answering or is_idle or self.transport.is_closing():
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None
        elif self._deadline is None:
            self._deadline = self.loop.call_later(self.patience, self.transport.abort)


class GracefulServer(uvicorn.Server):
    """Uvicorn, whose first signal lets it finish its work, and whose second one ends it at once."""

    def __init__(self, config: uvicorn.Config, stop: Callable[[], None], end_at_once: Callable[[], None]) -> None:
        """Take the configuration.

        Args:
            config: Uvicorn's.
            stop: Called in the event loop's thread at the first signal.
            end_at_once: Called at the second one; does not return.
        """
        super().__init__(config)
        self._stop = stop
        self._end_at_once = end_at_once
        self._loop: asyncio.AbstractEventLoop | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:  # type: ignore[override]
        """Take the signals that ask for an end; other than uvicorn's own, not to die of them afterwards."""
        self._loop = asyncio.get_running_loop()
        if threading.current_thread() is not threading.main_thread():  # who may not take any
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end, or end."""
        if self.should_exit:
            self._end_at_once()
        self.end()

    def end(self) -> None:
        """Begin to end: nothing more is taken, what was taken is answered; from any thread."""
        self.should_exit = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # it has ended already
                self._loop.call_soon_threadsafe(self._stop)


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Args:
        host: Where; "127.0.0.1" for this machine only.
        port: Its number; 0 for any that is free.

    Raises:
        UserError: The port is taken, or there is no such address on this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"Cannot listen on {host}, port {port}: {reason}.", "Give another --port or --host.") from error


def address_of(listener: socket.socket) -> str:
    """Return a socket's address as a URL."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def make_server(app: FastAPI, end_at_once: Callable[[], None] = lambda: os._exit(1)) -> GracefulServer:
    """Return the server of an application; it is `run` with a listening socket.

    Args:
        app: As of `create_app`.
        end_at_once: Called at the second signal that asks for an end; does not return.
    """
    config = uvicorn.Config(
        app,
        http=PatientProtocol,
        ws="none",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE,
    )
    return GracefulServer(config, app.state.served.stop, end_at_once)
