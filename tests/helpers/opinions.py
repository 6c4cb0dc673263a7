"""Ensembles whose members' answers are known: each hears the level of a clip, more or less."""

import numpy as np

from cmi_bench.audio.decode import decode


class Opinions:
    """Three members: the level in dB, and half a dB above and below it per letter of the prompt."""

    sr = 24000
    audio_input = "waveform"

    def score_batch(self, inputs, batch_size, max_dur, **kwargs):
        return np.array([[self.score(one, max_dur, step) for one in inputs] for step in (-0.5, 0.0, 0.5)])

    def score(self, one, max_dur, step):
        audio = decode(one.audio, self.sr, max_dur) if isinstance(one.audio, str) else one.audio
        level = 20 * np.log10(float(audio.double().std()) + 1e-4)
        return level + len(one.text), level + step * len(one.text)


class AllTheSame(Opinions):
    """An ensemble of one network, three times."""

    def score(self, one, max_dur, step):
        return super().score(one, max_dur, 0.0)


class OneMore(Opinions):
    """Asked about several clips, it asks another member."""

    def score_batch(self, inputs, batch_size, max_dur, **kwargs):
        members = super().score_batch(inputs, batch_size, max_dur)
        return members if len(inputs) == 1 else np.concatenate([members, members[:1]])


class SpreadOfTheBatch(Opinions):
    """Its means hold in any company, its spread does not."""

    def score_batch(self, inputs, batch_size, max_dur, **kwargs):
        members = super().score_batch(inputs, batch_size, max_dur)
        mean = members.mean(axis=0)
        return mean + (members - mean) * len(inputs)
