"""Songs as callers have them: files, or arrays in the many forms that audio has in memory, made into samples."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from numbers import Real
from os import PathLike
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from cmi_bench.audio.readers import AudioError, DecodedAudio
from cmi_bench.config import OnError
from cmi_bench.errors import UserError, did_you_mean
from cmi_bench.types import Clip, Score

if TYPE_CHECKING:
    from torch import Tensor


Array: TypeAlias = "npt.NDArray[np.generic[Any]] | Tensor"
"""Samples [n], [channels, n] or [n, channels]; floating point with full scale 1, or integers with theirs."""

Audio: TypeAlias = "str | PathLike[str] | Array | tuple[Array, int]"
"""A file's path, an array, or an array with its sampling rate in Hz."""


@dataclass(frozen=True, eq=False, repr=False)
class Song:
    """A `Clip` in the form that callers have one: its audio may be an array, and needs no name."""

    audio: Audio
    text: str = ""
    """The prompt; may be empty."""
    lyrics: str = ""
    """The lyrics asked for; may be empty."""
    ref_audio: "Audio | None" = None
    """Reference audio, if there was one."""
    sample_rate: int | None = None
    """Hz, of `audio` and `ref_audio` where they are arrays that come without."""

    def __repr__(self) -> str:
        given = ((field, getattr(self, field)) for field in SONG_FIELDS)
        shown = (f"{name}={_short(one)}" for name, one in given if not isinstance(one, str | None) or one)
        return f"Song({', '.join(shown)})"


def _short(value: Any) -> str:
    """Return a field's value, of an array its kind and shape only."""
    if isinstance(value, tuple):
        return f"({', '.join(map(_short, value))})"
    return f"<{type(value).__name__} {list(value.shape)}>" if hasattr(value, "shape") else repr(value)


SongScore = Score
"""What a model says of a song: `alignment`, `musicality`, `error`, and of an ensemble `members` and `spread`.

See `cmi_bench.types.Score`.
"""


INSTRUCTION = {"text": "text", "lyrics": "lyrics", "ref_audio": "reference"}
"""What a song may have been made from: fields of songs and clips, and what people call them."""


def alignment_note(song: "Song | Clip", score: Score, unused: Collection[str]) -> str:
    """Return what has to be known of an alignment score that compares the song with nothing; "" of any other.

    Args:
        song: As it was scored.
        score: The model's.
        unused: Fields that the model does not look at, such as "lyrics".

    >>> alignment_note(Song("a.mp3"), Score(0.7, 0.4), unused=["ref_audio"])
    'alignment has nothing to compare with: no text or lyrics'
    >>> alignment_note(Song("a.mp3", text="slow"), Score(0.7, 0.4), unused=["ref_audio"])
    ''
    """
    used = [field for field in INSTRUCTION if field not in unused]
    given = (getattr(song, field) for field in used)
    has_any = any(value.strip() if isinstance(value, str) else value is not None for value in given)
    if math.isnan(score.alignment) or not used or has_any:
        return ""
    *first, last = (INSTRUCTION[field] for field in used)
    return f"alignment has nothing to compare with: no {' or '.join([', '.join(first), last] if first else [last])}"


def name_of(audio: Audio) -> str | None:
    """Return a file's path; an array has no name."""
    return str(audio) if isinstance(audio, str | PathLike) else None


SONG_FIELDS = tuple(field.name for field in fields(Song))


def as_song(one: "Song | Mapping[str, Any] | Audio", given: Song, index: int) -> Song:
    """Return what a user calls a song as one.

    Args:
        one: A song, a mapping with its fields, or audio alone.
        given: Has the instruction and the sampling rate of audio that comes alone.
        index: Of the song in what the user gave, for messages.

    Raises:
        UserError: A mapping has no audio, or a field that songs do not have.
    """
    if isinstance(one, Song):
        return one
    if not isinstance(one, Mapping):
        return replace(given, audio=one)
    unknown = [key for key in one if key not in SONG_FIELDS]
    if unknown:
        raise UserError(f"Song {index + 1} has no field {unknown[0]!r}.", did_you_mean(str(unknown[0]), SONG_FIELDS))
    if "audio" not in one:
        raise UserError(f"Song {index + 1} has no audio.", "Give it as {'audio': ...}.")
    return Song(**one)


@dataclass(frozen=True)
class NumberedSong:
    """A song and its place in what was given, from 0."""

    index: int
    song: Song

    @property
    def key(self) -> str:
        """Its place, in the form of the stages' keys."""
        return str(self.index)

    @property
    def name(self) -> str:
        """What to call it in messages."""
        return name_of(self.song.audio) or f"Song {self.index + 1}"


def checked_on_error(name: str) -> OnError:
    """Return what is to be done where a song cannot be scored: "fail" or "record".

    Raises:
        UserError: There is no such thing.
    """
    try:
        return OnError(name)
    except ValueError:
        names = [one.value for one in OnError]
        raise UserError(f"on_error={name!r} is none of {', '.join(names)}.", did_you_mean(name, names)) from None


MAX_CHANNELS = 8
"""The axis of a two-dimensional array that is no longer than this holds the channels."""
LOUDEST = 256.0
"""No floating-point audio is so far beyond full scale; 16-bit samples that were only cast to float are."""


class _Rated(NamedTuple):
    array: Any
    sr: int


def samples_of(audio: "Array | tuple[Array, int]", sample_rate: int | None, *, name: str) -> DecodedAudio:
    """Return an array as samples.

    Args:
        audio: Of one or two dimensions: [samples], [channels, samples] or [samples, channels]; or with its sampling
            rate in a tuple.
        sample_rate: Hz; of an array that comes without.
        name: What to call it in messages.

    Raises:
        AudioError: It is empty, or no audio.
        UserError: Its sampling rate is not known, or which axis holds the channels.
    """
    rated = _rated(audio, sample_rate, name)
    values = _full_scale_one(_to_numpy(rated.array), name)
    return DecodedAudio(_channels_last(values, name), rated.sr, decoder="memory")


def seconds_of_array(audio: "Array | tuple[Array, int]", sample_rate: int | None) -> float | None:
    """Return how long an array is; None where it is nothing that `samples_of` takes."""
    try:
        rated = _rated(audio, sample_rate, "")
    except UserError:
        return None
    return max(rated.array.shape, default=0) / rated.sr


def _rated(audio: Any, sample_rate: int | None, name: str) -> _Rated:
    array, sr = audio if isinstance(audio, tuple) and len(audio) == 2 else (audio, sample_rate)
    if not hasattr(array, "__array__"):
        kind = type(array).__name__
        raise UserError(f"{name} is a {kind}.", "Audio is a path, an array or tensor, or a tuple (array, sample_rate).")
    if sr is None:
        raise UserError(
            f"{name} is an array, and its sampling rate is not given.", "Give sample_rate=, or (array, sample_rate)."
        )
    if not isinstance(sr, Real) or float(sr) <= 0 or float(sr) % 1:
        raise UserError(f"{name}: the sampling rate {sr!r} is not a whole number above 0.", "It is in Hz.")
    return _Rated(array, int(float(sr)))


def _to_numpy(array: Any) -> npt.NDArray[Any]:
    if hasattr(array, "detach"):  # a tensor: NumPy knows neither gradients nor GPUs nor bfloat16
        tensor = array.detach().cpu()
        return np.asarray(tensor.float() if tensor.is_floating_point() else tensor)
    return np.asarray(array)


def _full_scale_one(values: npt.NDArray[Any], name: str) -> npt.NDArray[np.float32]:
    if np.issubdtype(values.dtype, np.floating):
        peak = float(np.abs(values).max(initial=0.0))
        if peak > LOUDEST and np.isfinite(peak):
            raise AudioError(
                f"{name} has samples up to {peak:g}; full scale is 1.",
                "Divide by the full scale of the format it came from (32768 for 16 bit), or keep it as integers.",
            )
        return values.astype(np.float32)
    if np.issubdtype(values.dtype, np.signedinteger):
        return (values / -float(np.iinfo(values.dtype).min)).astype(np.float32)
    if values.dtype == np.uint8:
        return ((values.astype(np.float32) - 128) / 128).astype(np.float32)
    raise AudioError(f"{name} has dtype {values.dtype}.", "Samples are floating-point numbers or signed integers.")


def _channels_last(values: npt.NDArray[np.float32], name: str) -> npt.NDArray[np.float32]:
    if not values.size:
        raise AudioError(f"{name} holds no audio samples.", "Leave it out.")
    if values.ndim == 1:
        return values[:, None]
    form = list(values.shape)
    if values.ndim != 2:
        raise AudioError(f"{name} has shape {form}.", "One song has one or two dimensions; give several as a list.")
    few = [axis for axis in (0, 1) if values.shape[axis] <= MAX_CHANNELS]
    if len(few) != 1:
        raise UserError(
            f"{name} has shape {form}: it cannot be told which axis holds the channels.",
            f"Give [channels, samples] or [samples, channels] with at most {MAX_CHANNELS} channels, or average them.",
        )
    return values.T if few == [0] else values
