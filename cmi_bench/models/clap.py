"""CLAP of LAION (https://arxiv.org/abs/2211.06687): one space for audio and text.

A clip is cut into fixed windows; LAION's own code crops one at random.
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from cmi_bench.models.batching import (
    arithmetic,
    batches_of,
    check_device,
    checked_precision,
    exact,
    in_batches,
)
from cmi_bench.models.clap_checkpoint import ClapInput, load_clap
from cmi_bench.models.embedding import TextSimilarity
from cmi_bench.models.transfers import upload

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

    def __init__(self, form: ClapInput) -> None:
        super().__init__()
        self.size = form.fft_size
        self.hop_length = form.hop_length
        self.is_fused = form.is_fused
        self.register_buffer("window", torch.hann_window(self.size, dtype=torch.float64), persistent=False)
        self.register_buffer("filters", form.filters, persistent=False)

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


def quantised(waveform: Tensor) -> Tensor:
    """Round samples to 16 bits toward zero, as LAION's code does in training and inference."""
    return (waveform.clamp(-1.0, 1.0) * 32767.0).trunc() / 32767.0


def windows_of(waveform: Tensor, size: int) -> list[Tensor]:
    """Cut a waveform [samples] into windows of `size` samples that together are all of it.

    They follow each other without overlap, but the last one ends where the clip ends and may overlap the one before.
    A clip shorter than a window is repeated as often as it fits, and filled up with silence ("repeatpad", as in
    CLAP's training).
    """
    samples = len(waveform)
    if samples < size:
        repeated = waveform.repeat(size // samples)
        return [F.pad(repeated, (0, size - len(repeated)))]
    starts = list(range(0, samples - size + 1, size))
    if starts[-1] + size < samples:
        starts.append(samples - size)
    return [waveform[start : start + size] for start in starts]


AT_ONCE = 16
"""Windows, or texts, encoded at once."""


class Clap(TextSimilarity):
    """Cosine similarity of audio and prompt, over windows of 10 s; prompts in English."""

    family = "clap"

    def __init__(
        self,
        checkpoint: str,
        reference: str = "ignore",
        tokenizer: str | None = None,
        device: str | torch.device = "cpu",
        precision: str = "32",
    ) -> None:
        """Load the model.

        Args:
            checkpoint: LAION's file, or the folder or hub id of a `ClapModel`.
            reference: What reference audio contributes: "ignore", "mean" or "only"; see `TextSimilarity`.
            tokenizer: RoBERTa's folder or hub id, for LAION's file.
            device: Torch device.
            precision: "32", or "tf32" (on CUDA) or "bf16" for the products of the audio encoder.

        Raises:
            UserError: A file is missing or does not fit, or an option is not understood.
        """
        super().__init__(reference)
        self.precision = checked_precision(precision)
        self.loaded = load_clap(checkpoint, tokenizer)
        self.files = self.loaded.files
        self.window = self.loaded.input.samples
        self.chunk_seconds = self.window / self.sr
        self.to(device)

    def to(self, device: str | torch.device) -> "Clap":
        """Move the network to a torch device."""
        self.device = torch.device(device)
        check_device(self.precision, self.device)
        self.network = self.loaded.network.to(self.device)
        self.mel = ClapMel(self.loaded.input).to(self.device)
        return self

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The network's."""
        return dict(self.loaded.network.state_dict())

    @property
    def sr(self) -> int:
        """Sampling rate in Hz of the waveforms the model takes."""
        return self.loaded.input.sampling_rate

    @property
    def projections(self) -> dict[str, nn.Linear]:
        """Both layers of both projections into the common space."""
        return {
            f"{branch}_projection.{layer}": cast(nn.Linear, self.network.get_submodule(f"{branch}_projection.{layer}"))
            for branch in ("audio", "text")
            for layer in ("linear1", "linear2")
        }

    def encode_waveforms(self, waveforms: Sequence[Tensor]) -> list[Tensor]:
        """Embed clips [samples]: of each the mean of its windows' latents, float32 [1, dim] on the CPU."""
        prepared = [quantised(one) if self.loaded.input.is_quantised else one for one in waveforms]
        cut = [windows_of(waveform, self.window) for waveform in prepared]
        windows = [window for clip in cut for window in clip]
        with arithmetic(self.precision, self.device):
            found = [self._encode(windows[i : i + AT_ONCE]) for i in range(0, len(windows), AT_ONCE)]
        latents = torch.split(torch.cat(found), [len(clip) for clip in cut])
        return [one.mean(dim=0, keepdim=True) for one in latents]

    def _encode(self, windows: Sequence[Tensor]) -> Tensor:
        features = self.mel(upload(windows, self.device))
        # No window is longer than the model's own, so that a fusing model has nothing to fuse.
        is_longer = torch.zeros(len(windows), 1, dtype=torch.bool, device=self.device)
        pooled = self.network.audio_model(input_features=features, is_longer=is_longer).pooler_output
        with exact(self.device):
            return F.normalize(self.network.audio_projection(pooled.float()), dim=-1).cpu()

    def encode_texts(self, texts: Sequence[str]) -> list[Tensor]:
        """Embed texts: of each its latent, float32 [1, dim] on the CPU."""
        ids = [torch.tensor(tokens) for tokens in self.loaded.tokenizer.encode(texts)]
        with arithmetic("32", self.device):
            return in_batches(
                batches_of([len(tokens) for tokens in ids], AT_ONCE),
                lambda batch: self._read_tokens([ids[index] for index in batch])[:, None],
            )

    def _read_tokens(self, ids: Sequence[Tensor]) -> Tensor:
        padding = self.network.config.text_config.pad_token_id
        tokens = pad_sequence(list(ids), batch_first=True, padding_value=padding).to(self.device)
        valid = pad_sequence([torch.ones_like(one) for one in ids], batch_first=True).to(self.device)
        found = self.network.get_text_features(input_ids=tokens, attention_mask=valid).pooler_output
        return F.normalize(found.float(), dim=-1).cpu()
