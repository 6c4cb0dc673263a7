"""A server on loopback that stands in for a service, as long as a context lasts."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextmanager
def on_loopback(handler: type[BaseHTTPRequestHandler], **bound: object) -> Iterator[str]:
    """Run a server; yields its address.

    Args:
        handler: Answers requests.
        bound: Class attributes that it gets.
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("BoundHandler", (handler,), bound))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
