"""Log-mel spectrogram as CLAP hears it."""

import torch
from torch import Tensor, nn
from transformers import ClapFeatureExtractor

POWER_FLOOR = 1e-10
FUSION_CROPS = 4
"""Spectrograms that a fusing model wants: the whole clip and three crops, all the same of a clip of one window."""


class ClapMel(nn.Module):
    """Mel power in dB of windows, equal to that of `transformers.ClapFeatureExtractor`.

    That one works on the CPU, 16 ms for each window, which on a GPU would take longer than the network. In float64,
    as there: single precision would lift the quiet bands of loud music.
    """

    window: Tensor
    filters: Tensor

    def __init__(self, extractor: ClapFeatureExtractor) -> None:
        super().__init__()
        self.size = extractor.fft_window_size
        self.hop_length = extractor.hop_length
        self.is_fused = extractor.truncation == "fusion"
        filters = extractor.mel_filters if self.is_fused else extractor.mel_filters_slaney
        self.register_buffer("window", torch.hann_window(self.size, dtype=torch.float64), persistent=False)
        self.register_buffer("filters", torch.from_numpy(filters).double(), persistent=False)

    def forward(self, windows: Tensor) -> Tensor:
        """Transform windows float32 [batch, samples] to float32 [batch, crops, samples // hop_length + 1, mel]."""
        with torch.autocast(windows.device.type, enabled=False):
            spectrum = torch.stft(
                windows.double(),
                self.size,
                self.hop_length,
                window=self.window,
                pad_mode="reflect",
                return_complex=True,
            )
            power = spectrum.abs().square().transpose(1, 2) @ self.filters
            decibels = (10.0 * power.clamp(min=POWER_FLOOR).log10()).float()[:, None]
        return decibels.expand(-1, FUSION_CROPS, -1, -1) if self.is_fused else decibels
