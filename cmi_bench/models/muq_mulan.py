"""MuQ-MuLan (https://arxiv.org/abs/2501.01108): a music tower and a text tower, projected into one space."""

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cmi_bench.models.batching import (
    Precision,
    arithmetic,
    audio_arithmetic,
    batches_of,
    check_device,
    checked_precision,
    exact,
    in_batches,
)
from cmi_bench.models.config_files import Size, read_config_file
from cmi_bench.models.device_rate import tower_operations
from cmi_bench.models.embedding import TextSimilarity
from cmi_bench.models.encoding import encode_waveforms, fit_of
from cmi_bench.models.hub import EITHER_WEIGHTS, ENCODER_CONFIG, TOKENIZER, find_folder, find_model
from cmi_bench.models.kernels.prepare import Kernels, checked_kernels, prepare
from cmi_bench.models.muq.config import MulanConfig, MulanSection, MuqConfig, read_muq_config
from cmi_bench.models.muq.encoder import TRAINING_ONLY
from cmi_bench.models.muq.mel import MIN_SAMPLES, SAMPLE_RATE
from cmi_bench.models.muq.towers import AudioTower, TextTokenizer, TextTower
from cmi_bench.models.weights import load_strictly

PREFIXES = {
    "audio_tower.muq.": "mulan.audio.model.model.",
    "audio_tower.": "mulan.audio.",
    "text_tower.": "mulan.text.",
}
"""The network's names to the checkpoint's; the first match counts, other names get `mulan.` in front."""
NOT_USED = (
    "*.num_batches_tracked",
    "mulan.audio.aggregator.*",
    "mulan.contrast.*",
    "mulan.text.model.pooler.*",
    *(f"mulan.audio.model.model.{name}" for name in TRAINING_ONLY),
)
"""Tensors of the training, which a comparison does not use."""


class SimilaritySection(MulanSection):
    """The section `mulan`, with what only a comparison needs."""

    clip_secs: float
    """Seconds of a window that has one latent."""
    dim_latent: Size
    """Width of the space that music and text share."""


class SimilarityConfig(MulanConfig):
    """MuQ-MuLan's `config.json` for comparing music and text."""

    mulan: SimilaritySection


class MulanNetwork(nn.Module):
    """Music and text to latents; each half is called for itself."""

    def __init__(self, mulan: MulanConfig, muq: MuqConfig, *, xlmr_config: Path, dim_latent: int) -> None:
        """Build the network; `xlmr_config` is XLM-RoBERTa's `config.json`."""
        super().__init__()
        self.audio_tower = AudioTower(mulan, muq)
        self.text_tower = TextTower(mulan, xlmr_config)
        self.audio_to_latents = nn.Linear(mulan.audio_transformer.dim, dim_latent)
        self.text_to_latents = nn.Linear(mulan.text_transformer.dim, dim_latent)


class Towers:
    """The network on a device, each half made when it is first called for."""

    def __init__(self, network: MulanNetwork, device: torch.device, precision: Precision, kernels: Kernels) -> None:
        """Take the loaded network, which stays on the CPU and as it is."""
        self._network = network
        self._device = device
        self._precision = precision
        self._kernels = kernels

    @cached_property
    def audio(self) -> Callable[[Tensor], Tensor]:
        """Maps windows [batch, samples] to latents [batch, dim_latent], float32 of length 1."""
        tower = prepare(self._network.audio_tower, self._device, self._precision, self._kernels)
        to_latents = prepare(self._network.audio_to_latents, self._device, "32", self._kernels)

        def latents(windows: Tensor) -> Tensor:
            pooled = tower(windows).float().mean(dim=1)
            with exact(self._device):
                return F.normalize(to_latents(pooled), dim=-1)

        return latents

    def text(self, tokens: Sequence[Sequence[int]]) -> Tensor:
        """Return the latents [batch, dim_latent], of length 1, of tokenized texts."""
        pooled = torch.stack([embedded.mean(dim=0) for embedded in self._text_tower(tokens)])
        return F.normalize(self._text_to_latents(pooled), dim=-1)

    @cached_property
    def _text_tower(self) -> TextTower:
        return prepare(self._network.text_tower, self._device, "32", self._kernels)

    @cached_property
    def _text_to_latents(self) -> nn.Linear:
        return prepare(self._network.text_to_latents, self._device, "32", self._kernels)


def load_network(
    mulan: MulanConfig, muq: MuqConfig, *, xlmr_config: Path, dim_latent: int, weights: Path
) -> MulanNetwork:
    """Build the network that the configurations describe, and fill it from MuQ-MuLan's `model.safetensors`.

    Raises:
        UserError: A tensor is missing, unexpected or of another shape.
    """
    with torch.device("meta"):
        network = MulanNetwork(mulan, muq, xlmr_config=xlmr_config, dim_latent=dim_latent)
    load_strictly(network, weights, name_in_file=_name_in_file, not_used=NOT_USED)
    return network.eval()


def _name_in_file(name: str) -> str:
    prefix = next((prefix for prefix in PREFIXES if name.startswith(prefix)), "")
    return PREFIXES.get(prefix, "mulan.") + name.removeprefix(prefix)


def windows_of(waveform: Tensor, size: int) -> list[Tensor]:
    """Cut a waveform [samples] into windows of `size` samples, without overlap, as MuQ-MuLan's own code does.

    The last window is filled up from the clip's start, as far as that reaches: of a clip shorter than half
    a window the only one is the clip twice.
    """
    cut = list(torch.split(waveform, size))
    lacking = size - len(cut[-1])
    if lacking:
        cut[-1] = torch.cat((cut[-1], waveform[:lacking]))
    return cut


WINDOW_BATCH = 16
"""Windows, or texts, encoded at once."""


class MuQMuLan(TextSimilarity):
    """Cosine similarity of music and prompt, over windows of 10 s; both in English or Chinese."""

    family = "muq_mulan"
    min_samples = MIN_SAMPLES

    def __init__(
        self,
        checkpoint: str,
        reference: str = "ignore",
        device: str | torch.device = "cpu",
        precision: str = "32",
        kernels: str = "on",
    ) -> None:
        """Load the model.

        Args:
            checkpoint: MuQ-MuLan's folder or hub id; MuQ's and XLM-RoBERTa's configurations are found as it names them.
            reference: What reference audio contributes: "ignore", "mean" or "only"; see `TextSimilarity`.
            device: Torch device.
            precision: "32", or "tf32" (on CUDA) or "bf16" for the products of the audio tower.
            kernels: "off" computes with the plain modules.

        Raises:
            UserError: A file is missing or does not fit, or an option is not understood.
        """
        super().__init__(reference)
        self.precision = checked_precision(precision)
        self.kernels = checked_kernels(kernels)
        found = find_model(checkpoint, [ENCODER_CONFIG], weights=EITHER_WEIGHTS)
        file = found.folder / ENCODER_CONFIG
        mulan = read_config_file(file, SimilarityConfig)
        muq = find_folder(mulan.audio_model.name, [ENCODER_CONFIG], named_in=file) / ENCODER_CONFIG
        xlmr = find_folder(mulan.text_model.name, [ENCODER_CONFIG, TOKENIZER], named_in=file)
        self.window = int(mulan.mulan.clip_secs * self.sr)
        self.chunk_seconds = self.window / self.sr
        self.files = (found.weights, file, muq, xlmr / ENCODER_CONFIG, xlmr / TOKENIZER)
        self.tokenizer = TextTokenizer(xlmr / TOKENIZER, mulan.text_transformer.max_seq_len)
        self.network = load_network(
            mulan,
            read_muq_config(muq),
            xlmr_config=xlmr / ENCODER_CONFIG,
            dim_latent=mulan.mulan.dim_latent,
            weights=found.weights,
        )
        self.to(device)

    def to(self, device: str | torch.device) -> "MuQMuLan":
        """Move the network to a torch device."""
        self.device = torch.device(device)
        check_device(self.precision, self.device, fast_bf16=self.kernels == "on")
        self.towers = Towers(self.network, self.device, self.precision, self.kernels)
        self.fit = fit_of(self.network.audio_tower, audio_arithmetic(self.precision), self.device)
        return self

    @cached_property
    def operations_per_second(self) -> float | None:
        """Those of the audio tower on a full window."""
        return tower_operations(self.network.audio_tower, self.window) * self.sr / self.window

    @property
    def facts(self) -> dict[str, Any]:
        """How this process computed, for the run's metadata."""
        return {"kernels": self.kernels}

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Those of both towers."""
        return self.network.state_dict()

    @property
    def sr(self) -> int:
        """Sampling rate in Hz of the waveforms the model takes."""
        return SAMPLE_RATE

    @property
    def projections(self) -> dict[str, nn.Linear]:
        """The projections into the common space."""
        network = self.network
        return {"audio_to_latents": network.audio_to_latents, "text_to_latents": network.text_to_latents}

    def encode_waveforms(self, waveforms: Sequence[Tensor]) -> list[Tensor]:
        """Embed clips [samples]: of each the mean of its windows' latents, float32 [1, dim_latent] on the CPU."""
        cut = [windows_of(waveform, self.window) for waveform in waveforms]
        latents = iter(self._encode([window for windows in cut for window in windows]))
        return [torch.stack([next(latents) for _ in windows]).mean(dim=0, keepdim=True).cpu() for windows in cut]

    def _encode(self, windows: Sequence[Tensor]) -> list[Tensor]:
        return encode_waveforms(
            windows,
            self.towers.audio,
            device=self.device,
            precision=self.precision,
            batch_size=WINDOW_BATCH,
            fit=self.fit,
            folder=self.digest_dir,
        )

    def encode_texts(self, texts: Sequence[str]) -> list[Tensor]:
        """Embed texts: of each its latent, float32 [1, dim_latent] on the CPU."""
        ids = self.tokenizer.encode(texts)
        with arithmetic("32", self.device):
            return in_batches(
                batches_of([len(tokens) for tokens in ids], WINDOW_BATCH),
                lambda batch: self.towers.text([ids[index] for index in batch]).cpu()[:, None],
            )
