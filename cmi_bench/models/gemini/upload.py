"""How audio travels: in the request itself, or uploaded before and removed after."""

import contextlib
import io
import logging
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from cmi_bench.models.gemini.audio import MIME_TYPE, Recording
from cmi_bench.models.gemini.outcomes import ClipError, RetryError
from cmi_bench.models.gemini.request import Part

if TYPE_CHECKING:
    from google.genai import Client

log = logging.getLogger(__name__)

MEGABYTE = 1e6
POLL = 0.2
"""Seconds between looks at an upload that Google is not done with."""


@contextlib.contextmanager
def audio_parts(
    client: "Client", recordings: Sequence[Recording], *, inline_mb: float, timeout: float
) -> Iterator[list[Part]]:
    """Give the parts of a request that stand for recordings, for as long as the request takes.

    Args:
        client: For uploads.
        recordings: What the judge is to hear.
        inline_mb: Recordings that are larger than this together are uploaded.
        timeout: Seconds after which an upload has failed.
    """
    if sum(len(one.content) for one in recordings) <= inline_mb * MEGABYTE:
        yield [{"inline_data": {"mime_type": MIME_TYPE, "data": one.content}} for one in recordings]
        return
    with contextlib.ExitStack() as stack:
        files = [_uploaded(client, one, timeout, stack) for one in recordings]
        yield [{"file_data": {"mime_type": MIME_TYPE, "file_uri": file.uri}} for file in files]


def _uploaded(client: "Client", recording: Recording, timeout: float, stack: contextlib.ExitStack) -> Any:
    file = client.files.upload(file=io.BytesIO(recording.content), config={"mime_type": MIME_TYPE})
    stack.callback(_remove, client, str(file.name))
    deadline = time.monotonic() + timeout
    while _state(file) == "PROCESSING":
        if time.monotonic() > deadline:
            reason = f"Google was not done with the uploaded audio after {timeout:.0f} s"
            raise RetryError(reason, final=ClipError(reason))
        time.sleep(min(POLL, timeout / 10))
        file = client.files.get(name=str(file.name))
    if _state(file) == "FAILED":
        raise ClipError("Google could not read the uploaded audio")
    return file


def _state(file: Any) -> str:
    return "" if file.state is None else str(file.state.value)


def _remove(client: "Client", name: str) -> None:
    try:
        client.files.delete(name=name)
    except Exception as error:  # an answer is not given up for this: Google removes uploads itself after two days
        log.debug("An uploaded file was not removed (%s).", type(error).__name__)
