"""A reward server in this process, on a port of its own, with models that a test made."""

import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import httpx2

from cmi_bench.config import Config
from cmi_bench.hydra_compose import compose_config
from cmi_bench.models.adapter import adapt
from cmi_bench.serving.app import create_app
from cmi_bench.serving.listen import GracefulServer, address_of, listening, make_server
from cmi_bench.serving.loaded_model import ModelToServe
from cmi_bench.serving.service import RewardService, ServiceSettings
from cmi_bench.serving.spool import SpoolFolder
from cmi_bench.serving.wire import Limits

LIMITS = Limits(max_bytes=20_000_000, max_seconds=600, max_songs=64)


class Served(NamedTuple):
    """A server that runs."""

    address: str
    service: RewardService
    server: GracefulServer
    thread: threading.Thread
    failures: list[BaseException]
    """What would end `cmi-bench serve`."""

    def client(self, **options: Any) -> httpx2.Client:
        """Return a client for it."""
        return httpx2.Client(base_url=self.address, timeout=30, verify=False, trust_env=False, **options)

    def connection(self) -> socket.socket:
        """Return a connection to it."""
        host, port = self.address.removeprefix("http://").split(":")
        return socket.create_connection((host, int(port)), timeout=10)


@cache
def composed_once() -> Config:
    """Return a run's configuration, which takes half a second to compose."""
    return compose_config("signal")


def _made(model: Any) -> Any:
    return model() if callable(model) else model


@contextmanager
def serving(
    models: Mapping[str, Any],
    *,
    store: Path | None = None,
    token: str | None = None,
    body_seconds: float = 10.0,
    values: Mapping[str, Any] | None = None,
    is_awaited: bool = True,
    **settings: Any,
) -> Iterator[Served]:
    """Run a server until the block ends; then wait for its end.

    Args:
        models: Objects, by what requests call them.
        store: Where embeddings and scores are kept; None: nowhere.
        token: What requests have to show.
        body_seconds: How long a body may take.
        values: Of the configuration's keys, such as "batch_size".
        is_awaited: Wait until the models are loaded.
        settings: Of `ServiceSettings`.
    """
    plain = composed_once()
    kept = replace(plain.cache, dir=None if store is None else str(store))
    config = replace(plain, cache=kept, workers=2, **dict(values or {}))

    def build(name: str) -> ModelToServe:
        return ModelToServe(name, config, lambda _, device: adapt(_made(models[name])))

    failures: list[BaseException] = []
    with SpoolFolder() as spool, listening("127.0.0.1", 0) as listener:
        service = RewardService(
            list(map(build, models)), ["cpu"], spool, ServiceSettings(**{"limits": LIMITS} | settings)
        )
        app = create_app(service, token=token, body_seconds=body_seconds, failed=failures.append)
        server = make_server(app)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="server")
        thread.start()
        served = Served(address_of(listener), service, server, thread, failures)
        try:
            while is_awaited and not failures and service.state == "loading":
                time.sleep(0.005)
            if failures:
                raise failures[0]
            yield served
        finally:
            server.end()
            thread.join(timeout=60)
            assert not thread.is_alive()
