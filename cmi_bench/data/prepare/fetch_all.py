"""Fetch many files at once."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path

import httpx2
from tqdm import tqdm

from cmi_bench import __version__
from cmi_bench.data.prepare.fetch import Download, StoppedError, fetch
from cmi_bench.data.prepare.host import FileError
from cmi_bench.data.progress import bar_settings
from cmi_bench.errors import UserError

TIMEOUT = httpx2.Timeout(60.0, connect=15.0)
"""Seconds for a connection, and for the next bytes."""
SHOWN = 5
"""Files named in a message; the others are counted."""


def open_client(jobs: int) -> httpx2.Client:
    """Return a pool of `jobs` connections; proxies are those of the environment."""
    return httpx2.Client(
        follow_redirects=True,
        timeout=TIMEOUT,
        limits=httpx2.Limits(max_connections=jobs, max_keepalive_connections=jobs),
        headers={"User-Agent": f"cmi-bench/{__version__}"},
    )


def fetch_all(client: httpx2.Client, items: Sequence[Download], *, jobs: int) -> dict[Path, BaseException]:
    """Fetch files in parallel, the large ones first, with a bar of bytes, rate and time left.

    What is wrong with one file does not keep the others from coming; what is wrong with the network, the login
    or the disk ends it all. What has come stays.

    Returns:
        Why files could not be had, by target; see `raise_first`.
    """
    stop = threading.Event()
    with _bytes_bar(items) as bar, ThreadPoolExecutor(jobs) as pool:
        lock = threading.Lock()

        def arrived(count: int) -> None:
            with lock:
                bar.update(count)

        def one(item: Download) -> None:
            try:
                fetch(client, item, arrived, stop)
            except FileError:
                raise
            except BaseException:
                stop.set()
                raise

        ordered = sorted(items, key=lambda item: -(item.size or 0))
        pending = [pool.submit(one, item) for item in ordered]
        try:
            wait(pending)
        except BaseException:  # Ctrl-C: the threads end at their next chunk
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    failures = ((item.target, job.exception()) for item, job in zip(ordered, pending, strict=True))
    return {target: error for target, error in failures if error is not None}


def raise_first(failures: Mapping[Path, BaseException]) -> None:
    """Raise what is wrong with all files, or all that is wrong with single ones, as one error; or pass."""
    errors = [error for error in failures.values() if not isinstance(error, StoppedError)]
    for error in errors:
        if not isinstance(error, FileError):
            raise error
    problems = [error for error in errors if isinstance(error, FileError)]
    if len(problems) == 1:
        raise problems[0]
    if problems:
        more = f"\nand {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        listed = "\n".join(problem.what for problem in problems[:SHOWN])
        raise UserError(f"{len(problems)} files could not be had:\n{listed}{more}", problems[0].hint)


@contextmanager
def _bytes_bar(items: Sequence[Download]) -> Iterator["tqdm[None]"]:
    with tqdm(
        total=sum(item.size or 0 for item in items),
        initial=sum(item.done for item in items),
        unit="B",
        unit_scale=True,
        **bar_settings(f"fetching {len(items)} file{'s' * (len(items) != 1)}"),
    ) as bar:
        yield bar
