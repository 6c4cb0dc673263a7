"""A real MLflow server on loopback."""

import contextlib
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


START_SECONDS = 180
"""A server that starts imports all of MLflow, which is long where processors are few and busy."""


def is_up(uri: str) -> bool:
    try:
        urllib.request.urlopen(f"{uri}/health", timeout=5).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """Run a server with its SQLite store in a folder; yields its URI."""
    uri = f"http://127.0.0.1:{(port := free_port())}"
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
         "--backend-store-uri", f"sqlite:///{folder}/server.db", "--artifacts-destination", str(folder / "store")],
        cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        end = time.monotonic() + START_SECONDS
        while not is_up(uri):
            assert process.poll() is None and time.monotonic() < end, "the MLflow server did not start"
            time.sleep(0.2)
        yield uri
    finally:
        process.terminate()
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
