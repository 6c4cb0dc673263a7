"""Songs as the bodies of requests: files and arrays become parts of a form, files on the server are named."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeAlias

import numpy as np
from pydantic import ValidationError

from cmi_bench.api.songs import Audio, Song, as_song, name_of, samples_of
from cmi_bench.errors import UserError
from cmi_bench.serving.wire import AudioPart, BatchRequest, WireSong
from cmi_bench.utils.files import open_regular


@dataclass(frozen=True)
class ServerFile:
    """A file on the server, which need not be sent."""

    path: str
    """Relative to the server's `--audio-root`."""


SentAudio: TypeAlias = "Audio | bytes | ServerFile"
"""A file's path or its bytes, an array or tensor, (array, sampling rate), or a file on the server."""


class UploadPart(NamedTuple):
    """Audio that is sent."""

    filename: str
    content: bytes | Path
    """Of a file on this machine its path: it is read as it is sent."""


class Upload(NamedTuple):
    """A song as a request for one receipt."""

    name: str
    """What to call it in messages."""
    request: str
    """A `BatchRequest` of this one song, as JSON."""
    parts: Mapping[str, UploadPart]
    """By the name that the request has for it."""

    @contextlib.contextmanager
    def opened(self) -> Iterator[list[tuple[str, tuple[str, IO[bytes] | bytes, str]]]]:
        """Yield the parts as a form's files, as long as the block lasts.

        Raises:
            UserError: A file is missing, or cannot be read.
        """
        with contextlib.ExitStack() as stack:
            yield [
                (
                    name,
                    (
                        part.filename,
                        stack.enter_context(_opened(part.content)) if isinstance(part.content, Path) else part.content,
                        "application/octet-stream",
                    ),
                )
                for name, part in self.parts.items()
            ]


def _opened(path: Path) -> IO[bytes]:
    try:
        return open_regular(path)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}.", "Is the name right?") from None


def upload_of(song: Song, index: int, model: str | None) -> Upload:
    """Return a song as it is sent.

    Args:
        song: Of `sent_song`.
        index: Its place in what the user gave, for messages.
        model: Its name on the server; None where the server has one.

    Raises:
        UserError: Its audio is none, or a text is too long.
    """
    name = _name(song.audio) or f"Song {index + 1}"
    parts: dict[str, UploadPart] = {}
    try:
        wire = WireSong(
            audio=_sent(song.audio, song.sample_rate, name, "audio", parts),
            text=song.text,
            lyrics=song.lyrics,
            ref_audio=None
            if song.ref_audio is None
            else _sent(song.ref_audio, song.sample_rate, f"The reference of {name}", "ref_audio", parts),
        )
        request = BatchRequest(songs=[wire], model=model).model_dump_json(exclude_defaults=True)
        return Upload(name, request, parts)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"{name}: {where}: {first['msg']}.", "See docs/serving.md for what a song may have.") from None


def sent_song(song: Any, given: Song, index: int) -> Song:
    """Return what a user calls a song as one.

    Args:
        song: A song, a mapping with its fields, or audio alone.
        given: Has the instruction and the sampling rate of audio that comes alone.
        index: Of the song in what the user gave, for messages.

    Raises:
        UserError: A mapping has no audio, or a field that songs do not have.
    """
    if isinstance(song, bytes | ServerFile):
        return replace(given, audio=song)  # type: ignore[arg-type]  # more kinds of audio than a model in memory takes
    return as_song(song, given, index)


def _name(audio: Any) -> str | None:
    return audio.path if isinstance(audio, ServerFile) else name_of(audio)


def _sent(audio: Any, sample_rate: int | None, name: str, field: str, parts: dict[str, UploadPart]) -> AudioPart:
    """Return where the audio is in the request; what has to be sent is added to the parts."""
    if isinstance(audio, ServerFile):
        return AudioPart(path=audio.path)
    if isinstance(audio, str | PathLike):
        path = Path(audio)
        parts[field] = UploadPart(path.name, path)
        return AudioPart(part=field)
    if isinstance(audio, bytes):
        parts[field] = UploadPart(field, audio)
        return AudioPart(part=field)
    samples = samples_of(audio, sample_rate, name=name)
    parts[field] = UploadPart(field, np.ascontiguousarray(samples.values, dtype="<f4").tobytes())
    return AudioPart(part=field, sample_rate=samples.sr, channels=samples.values.shape[1])
