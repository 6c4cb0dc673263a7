"""The rows' files: fetched first, since they say which audio is needed."""

from collections.abc import Callable
from pathlib import Path

import httpx2

from cmi_bench.data import fields
from cmi_bench.data.jsonl import read_jsonl
from cmi_bench.data.prepare.fetch import Download
from cmi_bench.data.prepare.fetch_all import fetch_all, raise_first
from cmi_bench.data.prepare.host import Host
from cmi_bench.errors import UserError
from cmi_bench.urls import without_credentials

ROWS_HOST = Host("The server of the rows' files", "sources.rows")
TEST, TRAINING = "all_test.jsonl", "all_train.jsonl"


def fetch_rows(client: httpx2.Client, url: str, target: Path, *, check: Callable[[Path], object]) -> bool:
    """Fetch a rows' file unless it is there.

    Args:
        client: The connection pool.
        url: Where it is.
        target: Where it goes.
        check: Raises a UserError where a file is none of benchmark rows.

    Returns:
        Whether it was fetched.

    Raises:
        UserError: It cannot be had, or what came is something else.
    """
    if target.exists():
        return False
    arriving = target.with_name(f".{target.name}.arriving")
    raise_first(fetch_all(client, [Download(url, arriving, ROWS_HOST)], jobs=1))
    try:
        check(arriving)
    except UserError as error:
        arriving.unlink()
        raise UserError(
            f"{without_credentials(url)} is no file of benchmark rows: {error.what}",
            f"It was changed upstream, or is another page. {ROWS_HOST.mirror}",
        ) from error
    arriving.replace(target)
    return True


def training_audio(file: Path) -> list[str]:
    """Return the audio that training rows name, each file once; their labels are not looked at.

    Raises:
        UserError: The file is no JSON-lines file, or names no audio.
    """
    named = (
        line.value.get(key) for line in read_jsonl(file) for key in (fields.AUDIO_A, fields.AUDIO_B, fields.REF_AUDIO)
    )
    paths = list(dict.fromkeys(path for path in named if isinstance(path, str) and path.strip()))
    if not paths:
        raise UserError(f"{file} has no row that names audio.", "Get it again.")
    return paths
