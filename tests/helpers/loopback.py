"""A server on loopback that takes the place of a service, as long as a context lasts."""

import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pytest_httpserver import HTTPServer
from werkzeug import Request, Response


@contextmanager
def on_loopback(answer: Callable[[Request], Response]) -> Iterator[str]:
    """Run a server, several requests at a time; yields its address.

    Args:
        answer: Answers any request, whatever its method and path.
    """
    with HTTPServer(host="127.0.0.1", port=0, threaded=True) as server:
        server.expect_request(re.compile(".*")).respond_with_handler(answer)
        yield f"http://127.0.0.1:{server.port}"


def pieces(content: bytes, *, cut_after: int | None, seconds: float = 0.0, size: int = 4096) -> Iterator[bytes]:
    """Yield a body in pieces, each after some time, and end it early; the connection then closes."""
    body = content if cut_after is None else content[:cut_after]
    for start in range(0, len(body), size):
        time.sleep(seconds)
        yield body[start : start + size]


@contextmanager
def hanging_server() -> Iterator[str]:
    """Listen and never answer: connections are made by the system, and no byte comes back; yields the address."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
