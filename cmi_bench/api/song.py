"""What is scored, and what comes back."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from os import PathLike
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from cmi_bench.errors import UserError
from cmi_bench.suggest import did_you_mean

if TYPE_CHECKING:
    from torch import Tensor

Array: TypeAlias = "npt.NDArray[np.generic[Any]] | Tensor"
"""Samples [n], [channels, n] or [n, channels]; floating point with full scale 1, or integers with theirs."""

Audio: TypeAlias = "str | PathLike[str] | Array | tuple[Array, int]"
"""A file's path, an array, or an array with its sampling rate in Hz."""


@dataclass(frozen=True, eq=False)
class Song:
    """A song, and the instruction it was made from."""

    audio: Audio
    text: str = ""
    """The prompt; may be empty."""
    lyrics: str = ""
    """The lyrics asked for; may be empty."""
    ref_audio: "Audio | None" = None
    """Reference audio, if there was one."""
    sample_rate: int | None = None
    """Hz, of `audio` and `ref_audio` where they are arrays that come without."""


class SongScore(NamedTuple):
    """What a model says of a song, on its own scale; higher is better."""

    alignment: float
    """How well the song follows its instruction; NaN where the model does not judge that, or failed."""
    musicality: float
    """How good the song is as music; NaN where the model does not judge that, or failed."""
    error: str = ""
    """Why there is no score; empty where there is one."""


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
