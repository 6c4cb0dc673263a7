"""Where a run is seen in MLflow's UI, and the server that shows a local store.

A plain link to an experiment leads to MLflow's pages for language models, which are empty here; the links say which
pages are meant.
"""

import contextlib
import shlex
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from typing import IO

from cmi_bench.config import TrackingConfig
from cmi_bench.errors import UserError
from cmi_bench.utils.files import without_credentials

PORT = 5000
HOST = "127.0.0.1"
START_SECONDS = 180.0
"""A server imports all of MLflow, which is long where processors are few and busy."""
END_SECONDS = 20.0
"""How long a server has to end by itself."""
LOOK_SECONDS = 0.2
"""How often it is looked whether the server is there."""
MACHINE_LEARNING = "workflowType=machine_learning"


def models_page(server: str, experiment_id: str) -> str:
    """Return the address of an experiment's Models page: a row for each checkpoint.

    >>> models_page("http://host:5000/", "3")
    'http://host:5000/#/experiments/3/models?workflowType=machine_learning'
    """
    return f"{server.rstrip('/')}/#/experiments/{experiment_id}/models?{MACHINE_LEARNING}"


def runs_page(server: str, experiment_id: str) -> str:
    """Return the address of an experiment's runs."""
    return f"{server.rstrip('/')}/#/experiments/{experiment_id}/runs?{MACHINE_LEARNING}"


def artifact_page(server: str, experiment_id: str, run_id: str, artifact: str) -> str:
    """Return the address where an artifact of a run is shown."""
    return f"{server.rstrip('/')}/#/experiments/{experiment_id}/runs/{run_id}/artifacts/{artifact}?{MACHINE_LEARNING}"


def is_server(uri: str) -> bool:
    """Return whether a store is a server, which shows its UI itself."""
    return uri.startswith(("http://", "https://"))


def how_to_look(uri: str, experiment_id: str) -> str:
    """Return where the runs and models of an experiment are seen; of a store in a file, by which command."""
    if is_server(uri):
        return models_page(without_credentials(uri), experiment_id)
    command = shlex.join(["cmi-bench", "ui", "--store", without_credentials(uri)])
    return f"{command} opens {models_page(f'http://{HOST}:{PORT}', experiment_id)}"


@contextlib.contextmanager
def served(settings: TrackingConfig, *, port: int = PORT) -> Iterator[str]:
    """Serve a local store; yields the server's address, once it answers. A store that is a server is left to itself.

    Raises:
        UserError: The port is taken, or the server ends or does not answer.
    """
    assert settings.uri is not None
    if is_server(settings.uri):
        yield settings.uri
        return
    if _is_taken(port):
        raise UserError(f"Port {port} is taken.", f"Perhaps this UI is open already; else use --port {port + 1}.")
    address = f"http://{HOST}:{port}"
    words = ["server", "--host", HOST, "--port", str(port), "--workers", "1", "--backend-store-uri", settings.uri]
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *words], stdout=said, stderr=said, start_new_session=True
        )
        try:
            _wait(process, address, said)
            yield address
        finally:
            _end(process)


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(timeout=END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait(process: "subprocess.Popen[bytes]", address: str, said: IO[str]) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            said.seek(0)
            lines = said.read().strip().splitlines() or ["it says nothing"]
            raise UserError(f"The MLflow server ended: {lines[-1]}")
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/health", timeout=5):
            return
        time.sleep(LOOK_SECONDS)
    raise UserError(f"The MLflow server did not answer within {START_SECONDS:g} s.")
