"""MuQ's input: a log-mel spectrogram."""

import torch
from torch import Tensor, nn
from torchaudio import functional as audio

from cmi_bench.models.batching import exact

SAMPLE_RATE = 24_000
"""Hz; fixed in MuQ, whatever a configuration says."""
N_FFT = 2048
MIN_SAMPLES = N_FFT // 2 + 1
"""The shortest waveform that the spectrogram's reflect padding can mirror."""
POWER_FLOOR = 1e-10


class LogMel(nn.Module):
    """Mel power in dB, normalised with MuQ's training statistics.

    Equals torchaudio's `MelSpectrogram(24000, n_fft=2048, ...)` and `AmplitudeToDB()` with their defaults.
    Always in float32: fewer bits would blur the quiet bands.
    """

    window: Tensor
    filters: Tensor

    def __init__(self, *, hop_length: int, n_mels: int, mean: float, std: float) -> None:
        super().__init__()
        self.hop_length = hop_length
        self.mean = mean
        self.std = std
        # Constants rather than weights, so they are made here even when the network is built without memory.
        with torch.device("cpu"):
            window = torch.hann_window(N_FFT)
            filters = audio.melscale_fbanks(N_FFT // 2 + 1, 0.0, SAMPLE_RATE / 2, n_mels, SAMPLE_RATE)
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("filters", filters, persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """Transform waveforms.

        Args:
            waveform: float32 [batch, samples] at 24 kHz, at least `MIN_SAMPLES` long.

        Returns:
            float32 [batch, n_mels, frames(samples)].
        """
        return (self.decibels(waveform) - self.mean) / self.std

    def frames(self, samples: int) -> int:
        """Return how many frames a waveform has."""
        return samples // self.hop_length

    def decibels(self, waveform: Tensor) -> Tensor:
        """Return the spectrogram in dB before normalisation; shapes as in `forward`."""
        with exact(waveform.device):
            spectrum = audio.spectrogram(
                waveform.float(),
                pad=0,
                window=self.window,
                n_fft=N_FFT,
                hop_length=self.hop_length,
                win_length=N_FFT,
                power=None,
                normalized=False,
            )
            # The square of the magnitude, without the root on the way there that torchaudio takes.
            power = spectrum.real.square() + spectrum.imag.square()
            mel = (power.transpose(1, 2) @ self.filters).transpose(1, 2)
            # MuQ was trained without the last frame.
            decibels: Tensor = 10.0 * mel.clamp(min=POWER_FLOOR).log10()[..., :-1]
            return decibels
