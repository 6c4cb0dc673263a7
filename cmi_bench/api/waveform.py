"""Arrays, in the many forms that audio has in memory, as samples."""

from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cmi_bench.api.song import Array
from cmi_bench.audio.errors import AudioError
from cmi_bench.audio.samples import Samples
from cmi_bench.errors import UserError

MAX_CHANNELS = 8
"""The axis of a two-dimensional array that is no longer than this holds the channels."""
LOUDEST = 256.0
"""No floating-point audio is so far beyond full scale; 16-bit samples that were only cast to float are."""


class _Rated(NamedTuple):
    array: Any
    sr: int


def samples_of(audio: "Array | tuple[Array, int]", sample_rate: int | None, *, name: str) -> Samples:
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
    return Samples(_channels_last(values, name), rated.sr, decoder="memory")


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
