"""What a reward server and its clients say to each other: the bodies of requests and answers, as JSON.

`POST /v1/score` takes one song, in one of three forms; `POST /v1/score_batch` takes several; the answers are receipts.
`GET /health` tells whether the server is ready, `GET /models` what it scores with and what it takes.

One song is
- `multipart/form-data`: the files `audio` and, if there was one, `ref_audio`; the fields of `SongFields` beside them;
- `application/octet-stream`: raw samples, with the fields of `SongFields` in the query, `sample_rate` among them;
- `application/json`: a `ScoreRequest`, whose audio lies below the server's `--audio-root`.

Several songs are `application/json`, a `BatchRequest`, or `multipart/form-data`: a `BatchRequest` in the field
`request`, and the files that its songs name.

Raw samples are float32, little-endian, full scale 1, the channels interleaved (frame by frame). Numbers that a model
does not give are null. Nothing here needs torch.
"""

import math
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from cmi_bench.types import Aspect, Score


class ErrorCode(StrEnum):
    """What kind of thing went wrong, for programs."""

    BAD_REQUEST = "bad_request"
    """The body cannot be read: cut off, no JSON, no multipart form, a part that is missing."""
    UNAUTHORIZED = "unauthorized"
    """The token is missing or another one."""
    NOT_FOUND = "not_found"
    """There is no such address, model, or file below the audio root."""
    METHOD_NOT_ALLOWED = "method_not_allowed"
    """The address takes another method."""
    TOO_SLOW = "too_slow"
    """The body did not come in time."""
    TOO_LARGE = "too_large"
    """More bytes, seconds of audio, or songs than the server takes at once."""
    UNSUPPORTED_MEDIA = "unsupported_media"
    """The body is of a type that is not taken here."""
    INVALID = "invalid"
    """A field is missing, unknown, or of another type."""
    UNREADABLE_AUDIO = "unreadable_audio"
    """The audio cannot be decoded."""
    BUSY = "busy"
    """The queue is full: the header `Retry-After` says when to come again, in seconds."""
    MODEL_FAILED = "model_failed"
    """The model raised, or gave no number for what it judges."""
    FAILED = "failed"
    """The server failed."""
    STOPPING = "stopping"
    """The server is about to end; what it has taken is still answered."""
    NOT_READY = "not_ready"
    """The models are being loaded."""
    NO_SPACE = "no_space"
    """The server's disk is full."""

    @property
    def status(self) -> int:
        """The HTTP status that goes with it."""
        return _STATUS[self]

    @property
    def is_passing(self) -> bool:
        """Whether the same request may be answered later."""
        return self in (ErrorCode.BUSY, ErrorCode.STOPPING, ErrorCode.NOT_READY)


_STATUS = {
    ErrorCode.BAD_REQUEST: 400,
    ErrorCode.UNAUTHORIZED: 401,
    ErrorCode.NOT_FOUND: 404,
    ErrorCode.METHOD_NOT_ALLOWED: 405,
    ErrorCode.TOO_SLOW: 408,
    ErrorCode.TOO_LARGE: 413,
    ErrorCode.UNSUPPORTED_MEDIA: 415,
    ErrorCode.INVALID: 422,
    ErrorCode.UNREADABLE_AUDIO: 422,
    ErrorCode.BUSY: 429,
    ErrorCode.MODEL_FAILED: 500,
    ErrorCode.FAILED: 500,
    ErrorCode.STOPPING: 503,
    ErrorCode.NOT_READY: 503,
    ErrorCode.NO_SPACE: 507,
}


class DescribedModel(BaseModel):
    """A body or a part of one; the texts below its fields are in the API's description too."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class AskedModel(DescribedModel):
    """A part of a request; a field that it does not have is an error. Of answers, clients pass over what is new."""

    model_config = ConfigDict(extra="forbid")


class Problem(DescribedModel):
    """What is wrong, and what to do about it."""

    code: ErrorCode
    what: str
    """For people: what is wrong and where."""
    hint: str = ""
    """What to do about it."""


class ErrorAnswer(DescribedModel):
    """The body of every answer whose status is not 200."""

    error: Problem


MAX_TEXT = 100_000
"""Characters of a prompt or of lyrics."""
MAX_CHANNELS = 64
"""Of raw samples."""


class AudioPart(AskedModel):
    """Where a song's audio is: in a part of the multipart form, or in a file on the server; one of the two."""

    part: str | None = None
    """The name of the part that holds the file's bytes, or raw samples."""
    path: str | None = None
    """A file, relative to the server's `--audio-root`."""
    sample_rate: int | None = Field(default=None, ge=1_000, le=1_000_000)
    """Hz; of a part that holds raw samples. Without it the part is an audio file."""
    channels: int = Field(default=1, ge=1, le=MAX_CHANNELS)
    """Of raw samples."""

    @model_validator(mode="after")
    def _one_of_two(self) -> "AudioPart":
        if (self.part is None) == (self.path is None):
            raise ValueError("give `part` or `path`, one of them")
        if self.path is not None and self.sample_rate is not None:
            raise ValueError("`sample_rate` goes with a part that holds raw samples, not with a path")
        return self


class WireSong(AskedModel):
    """A song of a request, with the instruction it was made from."""

    audio: AudioPart
    text: str = Field(default="", max_length=MAX_TEXT)
    """The prompt."""
    lyrics: str = Field(default="", max_length=MAX_TEXT)
    """The lyrics it was to have."""
    ref_audio: AudioPart | None = None
    """The reference audio it was made from."""


class ScoreRequest(WireSong):
    """One song, as JSON: its audio is given by `path`."""

    model: str | None = None
    """Its name on this server; may be left out where the server has one."""


class SongFields(AskedModel):
    """What goes beside the audio of one song: the fields of a form, or of a query."""

    model: str | None = None
    """Its name on this server; may be left out where the server has one."""
    text: str = Field(default="", max_length=MAX_TEXT)
    lyrics: str = Field(default="", max_length=MAX_TEXT)
    sample_rate: int | None = Field(default=None, ge=1_000, le=1_000_000)
    """Hz: the audio is raw samples (of `audio` and `ref_audio`). Without it they are audio files."""
    channels: int = Field(default=1, ge=1, le=MAX_CHANNELS)
    """Of raw samples."""


class BatchRequest(AskedModel):
    """Several songs for one model; each has its own answer, and one that fails costs no other its score."""

    songs: list[WireSong] = Field(min_length=1)
    model: str | None = None
    """Its name on this server; may be left out where the server has one."""


class ServedModel(DescribedModel):
    """A model, and what settles its scores."""

    name: str
    """Its name on this server."""
    identity: str | None
    """What settles a score besides the song and the settings; null: the model does not say."""
    weights: str | None
    """SHA-256 over its weights; null: it has none, or does not say."""
    code: str
    """Digest of the code and of the versions of the libraries that compute the scores."""


class Settings(DescribedModel):
    """How a model is asked."""

    max_dur: float
    """Seconds of each song that are looked at, from its start."""
    precision: str
    """"32", "tf32" or "bf16"."""
    score_kwargs: dict[str, Any] = {}
    """What the model is told besides."""


class Receipt(DescribedModel):
    """A song's scores, with all that settles them."""

    musicality: float | None = None
    """On the model's own scale, higher is better; null: the model does not judge it, or `error`."""
    alignment: float | None = None
    musicality_spread: float | None = None
    """Of an ensemble, the standard deviation over its members; else null."""
    alignment_spread: float | None = None
    alignment_note: str = ""
    """What has to be known of the alignment: that there was nothing to compare the song with."""
    error: Problem | None = None
    """Why there are no scores."""
    audio_sha256: str | None = None
    """SHA-256 of the audio: of the file's bytes, or of the raw samples as they were sent; null: it was not read."""
    ref_audio_sha256: str | None = None
    """Of the reference; null where there is none."""
    from_store: bool = False
    """Whether the scores had been made before, by this server or by any other run with the same store."""
    model: ServedModel
    settings: Settings

    @classmethod
    def scores_of(cls, score: Score) -> dict[str, float | None]:
        """Return a score as a receipt's fields."""
        found: dict[str, float | None] = {}
        for aspect in Aspect:
            found[aspect.value] = null_for_nan(score.value(aspect))
            found[f"{aspect.value}_spread"] = null_for_nan(score.spread(aspect))
        return found

    @property
    def score(self) -> Score:
        """The receipt as a score, without an ensemble's members."""
        if self.error is not None:
            return Score.failed(self.error.what)
        return Score(nan_for_null(self.alignment), nan_for_null(self.musicality))


class BatchAnswer(DescribedModel):
    """A receipt for each song of a `BatchRequest`, in their order."""

    receipts: list[Receipt]


class Limits(DescribedModel):
    """What the server takes at once; more of it is `too_large`."""

    max_bytes: int
    """Of the body of a request."""
    max_seconds: float
    """Of audio, of a song with its reference."""
    max_songs: int
    """In a request."""


class ModelDescription(ServedModel):
    """A model as `GET /models` describes it."""

    settings: Settings
    sample_rate: int
    """Hz, at which the model hears: samples at this rate need no resampling."""
    unused_inputs: list[str]
    """Of "text", "lyrics" and "ref_audio", what the scores do not depend on."""
    devices: list[str]
    """Where it is loaded."""


class ModelsAnswer(DescribedModel):
    """The body of `GET /models`."""

    models: list[ModelDescription]
    limits: Limits
    version: str
    """Of cmi_bench."""


class ServerState(StrEnum):
    """What a server is about."""

    LOADING = "loading"
    READY = "ready"
    STOPPING = "stopping"


class HealthAnswer(DescribedModel):
    """The body of `GET /health`; its status is 200 where the server is ready, else 503."""

    state: ServerState
    queued: int
    """Songs that wait for a model."""
    uptime: float
    """Seconds since the start."""
    rewards: dict[str, list[str]] = {}
    """Names of rewards for `POST /score`, each with the state; UniRL's clients look for theirs here."""


def null_for_nan(value: float) -> float | None:
    """Return a number as JSON can hold it."""
    return None if math.isnan(value) else value


def nan_for_null(value: float | None) -> float:
    """Return a number that JSON may have had none for."""
    return math.nan if value is None else value


def schema_of(kind: type[BaseModel]) -> dict[str, Any]:
    """Return a body's schema, with what it refers to in place."""
    schema = kind.model_json_schema()
    parts = schema.pop("$defs", {})

    def whole(value: Any) -> Any:
        if isinstance(value, dict):
            name = str(value.get("$ref", "")).rpartition("/")[2]
            return whole(parts[name]) if name else {key: whole(one) for key, one in value.items()}
        return [whole(one) for one in value] if isinstance(value, list) else value

    return dict(whole(schema))
