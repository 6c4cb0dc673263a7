"""MuQ's input: a log-mel spectrogram."""

import math

import torch
from torch import Tensor, nn

SAMPLE_RATE = 24_000
"""Hz; fixed in MuQ, whatever a configuration says."""
N_FFT = 2048
MIN_SAMPLES = N_FFT // 2 + 1
"""The shortest waveform that the spectrogram's reflect padding can mirror."""
POWER_FLOOR = 1e-10


class LogMel(nn.Module):
    """Mel power in dB, normalised with MuQ's training statistics.

    Equals torchaudio's `MelSpectrogram(24000, n_fft=2048, ...)` and `AmplitudeToDB()` with their defaults.
    Always in float32: bfloat16 would blur the quiet bands.
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
            filters = mel_filters(n_mels)
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("filters", filters, persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """Transform waveforms.

        Args:
            waveform: float32 [batch, samples] at 24 kHz, at least `MIN_SAMPLES` long.

        Returns:
            float32 [batch, n_mels, samples // hop_length].
        """
        return (self.decibels(waveform) - self.mean) / self.std

    def decibels(self, waveform: Tensor) -> Tensor:
        """Return the spectrogram in dB before normalisation; shapes as in `forward`."""
        with torch.autocast(waveform.device.type, enabled=False):
            spectrum = torch.stft(
                waveform.float(), N_FFT, self.hop_length, window=self.window, pad_mode="reflect", return_complex=True
            )
            # The square of the magnitude, without the root on the way there that torchaudio takes.
            power = spectrum.real.square() + spectrum.imag.square()
            mel = (power.transpose(1, 2) @ self.filters).transpose(1, 2)
            # MuQ was trained without the last frame.
            decibels: Tensor = 10.0 * mel.clamp(min=POWER_FLOOR).log10()[..., :-1]
            return decibels


def mel_filters(n_mels: int) -> Tensor:
    """Return triangles of height 1 with edges evenly spaced on HTK's mel scale, from 0 Hz to the Nyquist frequency.

    Returns:
        float32 [N_FFT // 2 + 1, n_mels], by frequency and band.
    """
    nyquist = SAMPLE_RATE / 2
    hertz = torch.linspace(0, nyquist, N_FFT // 2 + 1)[:, None]
    mels = torch.linspace(0, 2595 * math.log10(1 + nyquist / 700), n_mels + 2)
    edges = 700 * (10 ** (mels / 2595) - 1)
    left, middle, right = edges[:-2], edges[1:-1], edges[2:]
    return torch.minimum((hertz - left) / (middle - left), (right - hertz) / (right - middle)).clamp(min=0)
