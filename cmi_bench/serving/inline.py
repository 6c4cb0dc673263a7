"""Songs in bodies that are JSON, as trainers of other projects send them: a file in base64, or a path on the server.

Base64 takes a third more than the file, and the whole body lies in memory: the forms of `/v1/score` are better ones.
"""

import asyncio
import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from starlette.requests import Request

from cmi_bench.serving.receive import Received
from cmi_bench.serving.spool import RequestFolder, SpooledAudio
from cmi_bench.serving.wire import MAX_TEXT, AudioPart, ErrorCode, Problem, Receipt, WireSong, schema_of
from cmi_bench.types import Score

if TYPE_CHECKING:
    from cmi_bench.serving.app import RewardApp

InlineAudio = bytes | str
"""A file's bytes, or a path below the audio root."""


@dataclass(frozen=True)
class InlineSong:
    """A song of a body that is JSON."""

    audio: InlineAudio
    text: str = ""
    lyrics: str = ""
    ref_audio: InlineAudio | None = None


@dataclass(frozen=True)
class SongOutcome:
    """What came of a song."""

    score: Score
    problem: Problem | None
    """Why there is no score."""


def inline_song(
    audio: InlineAudio | Problem | None,
    *,
    text: str = "",
    lyrics: str = "",
    ref_audio: InlineAudio | Problem | None = None,
) -> InlineSong | Problem:
    """Return a song, or what is wrong with it.

    Args:
        audio: Of the song; None: there is none.
        text: Its prompt.
        lyrics: Its lyrics.
        ref_audio: Its reference, if there is one.
    """
    if audio is None:
        return Problem(code=ErrorCode.INVALID, what="The song has no audio.", hint="GET /docs shows the forms.")
    if isinstance(audio, Problem):
        return audio
    if isinstance(ref_audio, Problem):
        return ref_audio
    if max(len(text), len(lyrics)) > MAX_TEXT:
        what = f"The prompt or the lyrics have more than {MAX_TEXT:,} characters."
        return Problem(code=ErrorCode.INVALID, what=what, hint="Shorten them.")
    return InlineSong(audio, text, lyrics, ref_audio)


def from_base64(text: str) -> bytes | Problem:
    """Return the bytes that base64 stands for, or what is wrong with it.

    >>> from_base64("UklGRg==")
    b'RIFF'
    >>> from_base64("UklG Rg").what
    'The base64 cannot be read: Only base64 data is allowed.'
    """
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        what = f"The base64 cannot be read: {error}."
        return Problem(code=ErrorCode.UNREADABLE_AUDIO, what=what, hint="Send it whole, without line breaks.")


async def outcomes(
    served: "RewardApp", request: Request, songs: Sequence[InlineSong | Problem], model: str | None
) -> list[SongOutcome]:
    """Return what came of songs, in order; one that fails costs no other its score.

    Args:
        served: Scores them.
        request: Its body has been read.
        songs: Those that are wrong are not scored.
        model: Its name on this server; None where there is one.

    Raises:
        RefusedError: There are too many, or there is no such model.
        QueueFullError: There is no room.
        QueueClosedError: The server is about to end.
        ClientDisconnect: The client did not wait.
    """
    served.receiver.check_count(len(songs))
    sound = [song for song in songs if isinstance(song, InlineSong)]

    async def read(_: Request, folder: RequestFolder) -> Received:
        return await asyncio.to_thread(_spooled, sound, model, folder)

    receipts = iter(await served.receipts(request, read) if sound else [])
    return [
        SongOutcome(Score.failed(song.what), song) if isinstance(song, Problem) else _outcome(next(receipts))
        for song in songs
    ]


def _outcome(receipt: Receipt) -> SongOutcome:
    return SongOutcome(receipt.score, receipt.error)


def _spooled(songs: Sequence[InlineSong], model: str | None, folder: RequestFolder) -> Received:
    """Write the audio of songs into the spool."""
    files: dict[str, SpooledAudio] = {}

    def part(audio: InlineAudio, name: str) -> AudioPart:
        if isinstance(audio, str):
            return AudioPart(path=audio)
        file = folder.new(name)
        try:
            file.write(audio)
            files[name] = file.finished()
        finally:
            file.close()
        return AudioPart(part=name)

    wire = [
        WireSong(
            audio=part(song.audio, f"song {place}"),
            text=song.text,
            lyrics=song.lyrics,
            ref_audio=None if song.ref_audio is None else part(song.ref_audio, f"reference {place}"),
        )
        for place, song in enumerate(songs, start=1)
    ]
    return Received(wire, model, files)


def described(kind: type[BaseModel], query: type[BaseModel] | None = None) -> dict[str, Any]:
    """Return what the API's description says of a request that FastAPI does not read."""
    content = {"application/json": {"schema": schema_of(kind)}}
    fields = schema_of(query)["properties"] if query else {}
    return {
        "requestBody": {"required": True, "content": content},
        "parameters": [{"name": name, "in": "query", "schema": field} for name, field in fields.items()],
    }
