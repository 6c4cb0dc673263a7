"""Adapters that break the contract, one point each."""

import itertools
import random

import numpy as np
import soundfile

from cmi_bench.audio.decode import decode
from cmi_bench.models.base import SomeFailedError


class Sound:
    """Keeps to the contract: level, and how much was asked for."""

    sr = 24000

    def score_batch(self, inputs, batch_size, max_dur, **kwargs):
        return np.array([self.score(clip, max_dur) for clip in inputs], dtype=np.float32)

    def score(self, clip, max_dur):
        asked = len(clip.text) + 2 * len(clip.lyrics)
        asked += 0 if clip.ref_audio is None else self.decoded(clip.ref_audio, max_dur).std()
        return asked / 100, self.decoded(clip.audio, max_dur).std()

    def decoded(self, audio, max_dur):
        return decode(audio, self.sr, max_dur).double().numpy()


class BatchMean(Sound):
    def score_batch(self, inputs, batch_size, max_dur, **kwargs):
        scores = super().score_batch(inputs, batch_size, max_dur)
        return scores - scores.mean(axis=0) / 2


class Random(Sound):
    def score(self, clip, max_dur):
        return random.random(), random.random()


class OneColumn(Sound):
    def score_batch(self, inputs, batch_size, max_dur, **kwargs):
        return super().score_batch(inputs, batch_size, max_dur)[:, :1]


class FirstOnly(Sound):
    def score_batch(self, inputs, batch_size, max_dur, **kwargs):
        return super().score_batch(inputs[:1], batch_size, max_dur)


class NaNWithoutText(Sound):
    def score(self, clip, max_dur):
        return super().score(clip, max_dur) if clip.text else (np.nan, self.decoded(clip.audio, max_dur).std())


class Silent(Sound):
    def score(self, clip, max_dur):
        return np.nan, np.nan


class Normalises(Sound):
    audio_input = "waveform"

    def decoded(self, audio, max_dur):
        audio.mul_(0.5)
        return 2 * audio.double().numpy()


class EmptiesTheList(Sound):
    def score_batch(self, inputs, batch_size, max_dur, **kwargs):
        return np.array([self.score(inputs.pop(0), max_dur) for _ in range(len(inputs))])


class HearsAll(Sound):
    def decoded(self, audio, max_dur):
        return soundfile.read(audio)[0]


class CrashesOnSilence(Sound):
    def decoded(self, audio, max_dur):
        samples = super().decoded(audio, max_dur)
        if not samples.any():
            raise ZeroDivisionError("float division by zero")
        return samples


class NaNOnSilence(Sound):
    def score(self, clip, max_dur):
        samples = self.decoded(clip.audio, max_dur)
        return (0.0, samples.std()) if samples.any() else (0.0, np.nan)


class CrashesOnShort(Sound):
    error = RuntimeError("Kernel size can't be greater than actual input size")

    def decoded(self, audio, max_dur):
        samples = super().decoded(audio, max_dur)
        if len(samples) < self.sr:
            raise self.error
        return samples


class RefusesShort(CrashesOnShort):
    error = ValueError("clips have to last 1 s")


class RefusesShortByPlace(Sound):
    def score_batch(self, inputs, batch_size, max_dur, **kwargs):
        scores = super().score_batch(inputs, batch_size, max_dur)
        lengths = [len(self.decoded(clip.audio, max_dur)) for clip in inputs]
        if reasons := {place: "too short" for place, length in enumerate(lengths) if length < self.sr}:
            raise SomeFailedError(scores, reasons)
        return scores


class NeedsNoReference(Sound):
    def score(self, clip, max_dur):
        assert clip.ref_audio is None
        return super().score(clip, max_dur)


class FirstReferenceForAll(Sound):
    """As with a batch that is padded to have references everywhere."""

    def score_batch(self, inputs, batch_size, max_dur, **kwargs):
        has_any = any(clip.ref_audio is not None for clip in inputs)
        return super().score_batch(inputs, batch_size, max_dur) + (0.01 * has_any * np.array([[1, 0]]))


class OddRate(Sound):
    sr = 24000.5


class OtherNames(Sound):
    def score_batch(self, clips, size, seconds):
        return super().score_batch(clips, size, seconds)


class ReadsWhatItDeclaresUnused(Sound):
    unused_inputs = frozenset({"text"})


class UnknownUnused(Sound):
    unused_inputs = frozenset({"prompt"})


class NewIdentity(Sound):
    _count = itertools.count()

    @property
    def identity(self):
        return f"run {next(self._count)}"


class AsksForBatches(Sound):
    def score_batch(self, inputs, batch_size, max_dur, **kwargs):
        return super().score_batch(inputs, batch_size, max_dur) + (batch_size == 1 < len(inputs))


class ByPlace(Sound):
    """Right for a single clip, and in any batch the same twice: but each score is the one of its place."""

    def score_batch(self, inputs, batch_size, max_dur, **kwargs):
        scores = super().score_batch(inputs, batch_size, max_dur)
        return scores + 0.01 * np.arange(len(inputs))[:, None]
