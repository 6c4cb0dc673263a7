"""The bodies of requests: read within bounds of size and time, their audio into the spool, and checked."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from cmi_bench.serving.refused import RefusedError
from cmi_bench.serving.spool import RequestFolder, SpooledAudio, SpoolFile
from cmi_bench.serving.wire import AudioPart, BatchRequest, ErrorCode, Limits, ScoreRequest, SongFields, WireSong

JSON = "application/json"
FORM = "multipart/form-data"
RAW = "application/octet-stream"
MAX_FIELDS = 16 << 20
"""Bytes of all fields of a form, or of a body that is JSON."""
MAX_PARTS = 16
"""Parts of a form that are no files."""
DOCS = "GET /docs shows the forms that a request may have."

T = TypeVar("T")
Asked = TypeVar("Asked", bound=BaseModel)


class Received(NamedTuple):
    """What a request asks for."""

    songs: Sequence[WireSong]
    model: str | None
    """By its name on the server; None where the request names none."""
    files: Mapping[str, SpooledAudio]
    """The parts that songs name."""


class Receiver:
    """Reads bodies."""

    def __init__(self, limits: Limits, *, seconds: float) -> None:
        """Say how.

        Args:
            limits: What is taken.
            seconds: How long a body may take.
        """
        self.limits = limits
        self.seconds = seconds
        self._is_stopping = False
        self._reading: set[asyncio.Timeout] = set()

    def stop(self) -> None:
        """Refuse the bodies that are not complete yet."""
        self._is_stopping = True
        for timeout in self._reading:
            timeout.reschedule(0)

    async def song(self, request: Request, folder: RequestFolder) -> Received:
        """Return the song of a request for one.

        Args:
            request: Its body has not been read.
            folder: Where its audio goes.

        Raises:
            RefusedError: It is not right.
        """
        return await self._within_time(self._song(request, folder))

    async def songs(self, request: Request, folder: RequestFolder) -> Received:
        """Return the songs of a request for several; see `song`.

        Raises:
            RefusedError: It is not right.
        """
        return await self._within_time(self._songs(request, folder))

    async def json(self, request: Request, kind: type[Asked]) -> Asked:
        """Return a body that is JSON, whatever it says it is; it may have all the bytes that a request may have.

        Raises:
            RefusedError: It is not right.
        """
        text = await self._within_time(self._text(request, most=self.limits.max_bytes))
        # What is large takes a while to parse, in which other requests go on.
        return await asyncio.to_thread(_checked, kind, text)

    def check_count(self, songs: int) -> None:
        """Make sure that a request has no more songs than are taken.

        Raises:
            RefusedError: It has.
        """
        if songs > self.limits.max_songs:
            raise RefusedError(
                ErrorCode.TOO_LARGE,
                f"{songs} songs in one request; {self.limits.max_songs} are taken.",
                "Send them in several requests.",
            )

    async def _within_time(self, reading: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(self.seconds) as timeout:
                self._reading.add(timeout)
                try:
                    return await reading
                finally:
                    self._reading.discard(timeout)
        except TimeoutError:
            if self._is_stopping:
                raise stopping() from None
            raise RefusedError(
                ErrorCode.TOO_SLOW,
                f"The body has not come within {self.seconds:g} s.",
                "Send less at a time, or over a faster connection.",
            ) from None

    async def _song(self, request: Request, folder: RequestFolder) -> Received:
        kind, options = _content_type(request)
        if kind == JSON:
            asked = _checked(ScoreRequest, await self._text(request))
            return Received([asked], asked.model, {})
        if kind == RAW:
            fields = checked_fields(SongFields, request.query_params)
            if fields.sample_rate is None:
                raise RefusedError(ErrorCode.INVALID, "Raw samples need `sample_rate` in the query.", DOCS)
            return _of_fields(fields, {"audio": await self._raw(request, folder)})
        if kind == FORM:
            form = await self._form(request, folder, options, files=2)
            unknown = form.files.keys() - {"audio", "ref_audio"}
            if unknown or "audio" not in form.files:
                named = f"a file {min(unknown)!r}" if unknown else "no file 'audio'"
                raise RefusedError(ErrorCode.INVALID, f"The form has {named}.", "Its files: audio, ref_audio.")
            return _of_fields(checked_fields(SongFields, form.fields), form.files)
        raise _unsupported(kind, FORM, RAW, JSON)

    async def _songs(self, request: Request, folder: RequestFolder) -> Received:
        kind, options = _content_type(request)
        if kind == JSON:
            return self._checked_batch(_checked(BatchRequest, await self._text(request)), {})
        if kind == FORM:
            form = await self._form(request, folder, options, files=2 * self.limits.max_songs)
            if set(form.fields) != {"request"}:
                what = "The form has one field, `request`, which is JSON; all else are files."
                raise RefusedError(ErrorCode.INVALID, what, DOCS)
            return self._checked_batch(_checked(BatchRequest, form.fields["request"]), form.files)
        raise _unsupported(kind, FORM, JSON)

    def _checked_batch(self, asked: BatchRequest, files: Mapping[str, SpooledAudio]) -> Received:
        self.check_count(len(asked.songs))
        named = {part.part for song in asked.songs for part in (song.audio, song.ref_audio) if part and part.part}
        if odd := (files.keys() ^ named):
            what = f"No song names the file {min(odd)!r}." if odd & files.keys() else f"There is no file {min(odd)!r}."
            raise RefusedError(ErrorCode.INVALID, what, DOCS)
        return Received(asked.songs, asked.model, files)

    async def _text(self, request: Request, *, most: int = MAX_FIELDS) -> str:
        parts: list[bytes] = []
        await self._read(request, parts.append, most=min(most, self.limits.max_bytes))
        return _utf8(b"".join(parts), "The body")

    async def _raw(self, request: Request, folder: RequestFolder) -> SpooledAudio:
        file = folder.new("audio")
        try:
            await self._read(request, file.write, most=self.limits.max_bytes)
            return file.finished()
        finally:
            file.close()

    async def _form(
        self, request: Request, folder: RequestFolder, options: Mapping[bytes, bytes], *, files: int
    ) -> "_Form":
        if b"boundary" not in options:
            raise RefusedError(ErrorCode.BAD_REQUEST, "The content type multipart/form-data has no boundary.", DOCS)
        with closing(_FormReader(folder, files)) as reader:
            try:
                parser = MultipartParser(options[b"boundary"], reader.callbacks)  # type: ignore[arg-type]
                await self._read(request, parser.write, most=self.limits.max_bytes)
            except FormParserError as error:
                raise RefusedError(ErrorCode.BAD_REQUEST, f"The form cannot be read: {error}.", DOCS) from None
            return reader.finished()

    async def _read(self, request: Request, take: Callable[[bytes], object], *, most: int) -> None:
        """Hand a body on, piece by piece."""
        too_large = RefusedError(
            ErrorCode.TOO_LARGE, f"The body has more than {most:,} bytes.", "GET /models tells the limits."
        )
        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > most:
            raise too_large
        count = 0
        async for piece in request.stream():
            count += len(piece)
            if count > most:
                raise too_large
            take(piece)


@dataclass
class _Form:
    """The parts of a multipart form."""

    fields: dict[str, str] = field(default_factory=dict)
    files: dict[str, SpooledAudio] = field(default_factory=dict)


class _FormReader:
    """What a parser of multipart forms calls: files go to the spool, fields into memory."""

    def __init__(self, folder: RequestFolder, files: int) -> None:
        self._folder = folder
        self._most_files = files
        self._form = _Form()
        self._fields: dict[str, bytearray] = {}
        self._headers: dict[bytes, bytes] = {}
        self._header = (bytearray(), bytearray())
        self._part: SpoolFile | bytearray = bytearray()
        self._name = ""
        self._size = 0
        self._is_whole = False

    @property
    def callbacks(self) -> dict[str, Callable[..., None]]:
        """By the parser's names."""
        names = (
            *("on_part_begin", "on_part_data", "on_part_end", "on_header_field", "on_header_value", "on_header_end"),
            *("on_headers_finished", "on_end"),
        )
        return {name: getattr(self, name) for name in names}

    def close(self) -> None:
        """Write no more."""
        if isinstance(self._part, SpoolFile):
            self._part.close()

    def finished(self) -> _Form:
        """Return the form.

        Raises:
            RefusedError: It was cut off, or a field is not UTF-8.
        """
        if not self._is_whole:
            raise RefusedError(ErrorCode.BAD_REQUEST, "The form ends before its last boundary.", "Send it whole.")
        self._form.fields = {name: _utf8(value, f"The field {name!r}") for name, value in self._fields.items()}
        return self._form

    def on_part_begin(self) -> None:
        self._headers = {}

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header[0].extend(data[start:end])

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header[1].extend(data[start:end])

    def on_header_end(self) -> None:
        name, value = self._header
        self._headers[bytes(name).lower()] = bytes(value)
        self._header = (bytearray(), bytearray())

    def on_headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        self._name = _utf8(options.get(b"name", b""), "The name of a part")
        if not self._name:
            raise RefusedError(ErrorCode.BAD_REQUEST, "A part of the form has no name.", DOCS)
        if self._name in self._form.files or self._name in self._fields:
            raise RefusedError(ErrorCode.INVALID, f"There are two parts {self._name!r} in the form.", DOCS)
        if b"filename" in options:
            if len(self._form.files) >= self._most_files:
                raise RefusedError(ErrorCode.TOO_LARGE, f"The form has more than {self._most_files} files.", DOCS)
            self._part = self._folder.new(_utf8(options[b"filename"], "The name of a file") or self._name)
            return
        if len(self._fields) >= MAX_PARTS:
            raise RefusedError(ErrorCode.TOO_LARGE, f"The form has more than {MAX_PARTS} fields.", DOCS)
        self._part = self._fields[self._name] = bytearray()

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if isinstance(self._part, SpoolFile):
            self._part.write(data[start:end])
            return
        self._size += end - start
        if self._size > MAX_FIELDS:
            raise RefusedError(ErrorCode.TOO_LARGE, f"The form's fields have more than {MAX_FIELDS:,} bytes.", DOCS)
        self._part.extend(data[start:end])

    def on_part_end(self) -> None:
        if isinstance(self._part, SpoolFile):
            part, self._part = self._part, bytearray()
            self._form.files[self._name] = part.finished()

    def on_end(self) -> None:
        self._is_whole = True


def stopping() -> RefusedError:
    """Return what is answered while the server is about to end."""
    return RefusedError(
        ErrorCode.STOPPING, "The server is about to end.", "Ask again: another one may be there.", retry_after=1
    )


def _of_fields(fields: SongFields, files: Mapping[str, SpooledAudio]) -> Received:
    parts = {name: AudioPart(part=name, sample_rate=fields.sample_rate, channels=fields.channels) for name in files}
    song = WireSong(audio=parts["audio"], text=fields.text, lyrics=fields.lyrics, ref_audio=parts.get("ref_audio"))
    return Received([song], fields.model, files)


def _content_type(request: Request) -> tuple[str, Mapping[bytes, bytes]]:
    kind, options = parse_options_header(request.headers.get("content-type"))
    return kind.decode("latin-1"), options


def _unsupported(kind: str, *known: str) -> RefusedError:
    what = f"The content type {kind} is not taken here." if kind else "The request has no content type."
    return RefusedError(ErrorCode.UNSUPPORTED_MEDIA, what, f"Send {', '.join(known[:-1])} or {known[-1]}.")


def _utf8(value: bytes | bytearray, what: str) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RefusedError(ErrorCode.BAD_REQUEST, f"{what} is not UTF-8: {error.reason}.", "Encode it.") from None


def _checked(kind: type[Asked], text: str) -> Asked:
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        raise _invalid(error) from None


def checked_fields(kind: type[Asked], fields: Mapping[str, str]) -> Asked:
    """Return the fields of a form, or of a query.

    Raises:
        RefusedError: One is missing, unknown, or of another type.
    """
    try:
        return kind.model_validate(dict(fields))
    except ValidationError as error:
        raise _invalid(error) from None


def _invalid(error: ValidationError) -> RefusedError:
    """Return the first of pydantic's errors as an answer."""
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, first["loc"]))
    code = ErrorCode.BAD_REQUEST if first["type"] == "json_invalid" else ErrorCode.INVALID
    return RefusedError(code, f"{place}: {first['msg']}." if place else f"{first['msg']}.", DOCS)
