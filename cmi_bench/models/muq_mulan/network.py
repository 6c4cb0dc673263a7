"""MuQ-MuLan's two towers and their projections into one space."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cmi_bench.models.cmi_rm.audio_tower import AudioTower
from cmi_bench.models.cmi_rm.config import MulanConfig, MuqConfig
from cmi_bench.models.cmi_rm.fast.prepare import prepare
from cmi_bench.models.cmi_rm.precision import Precision
from cmi_bench.models.cmi_rm.text_tower import TextTower
from cmi_bench.models.strict import load_strictly

PREFIXES = {
    "audio_tower.muq.": "mulan.audio.model.model.",
    "audio_tower.": "mulan.audio.",
    "text_tower.": "mulan.text.",
}
"""The network's names to the checkpoint's; the first match counts, other names get `mulan.` in front."""
NOT_USED = (
    "*.num_batches_tracked",
    "mulan.audio.aggregator.*",
    "mulan.audio.model.model.cls_token",
    "mulan.audio.model.model.conformer.pos_conv_embed.*",
    "mulan.audio.model.model.linear.*",
    "mulan.audio.model.model.quantizer_*",
    "mulan.audio.model.model.rvq.*",
    "mulan.contrast.*",
    "mulan.text.model.pooler.*",
)
"""Tensors of the training that comparing has no use for."""


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

    def __init__(self, network: MulanNetwork, device: torch.device, precision: Precision) -> None:
        """Take the loaded network, which stays on the CPU and as it is."""
        self._network = network
        self._device = device
        self._precision = precision

    def audio(self, windows: Tensor) -> Tensor:
        """Return the latents [batch, dim_latent], of length 1, of windows [batch, samples]."""
        return F.normalize(self._audio_to_latents(self._audio_tower(windows).mean(dim=1)).float(), dim=-1)

    def text(self, tokens: Sequence[Sequence[int]]) -> Tensor:
        """Return the latents [batch, dim_latent], of length 1, of tokenized texts."""
        pooled = torch.stack([embedded.mean(dim=0) for embedded in self._text_tower(tokens)])
        return F.normalize(self._text_to_latents(pooled).float(), dim=-1)

    @cached_property
    def _audio_tower(self) -> AudioTower:
        return prepare(self._network.audio_tower, self._device, self._precision)

    @cached_property
    def _audio_to_latents(self) -> nn.Linear:
        return prepare(self._network.audio_to_latents, self._device, self._precision)

    @cached_property
    def _text_tower(self) -> TextTower:
        return prepare(self._network.text_tower, self._device, self._precision)

    @cached_property
    def _text_to_latents(self) -> nn.Linear:
        return prepare(self._network.text_to_latents, self._device, self._precision)


def load_network(
    mulan: MulanConfig, muq: MuqConfig, *, xlmr_config: Path, dim_latent: int, weights: Path
) -> MulanNetwork:
    """Build the network that the configurations describe, and fill it from MuQ-MuLan's `model.safetensors`.

    Raises:
        UserError: A tensor is missing, unexpected or of another shape.
    """
    with torch.device("meta"):
        network = MulanNetwork(mulan, muq, xlmr_config=xlmr_config, dim_latent=dim_latent)
    load_strictly(network, weights, name_in_file=_name_in_file, is_not_used=_is_not_used)
    return network.eval()


def _name_in_file(name: str) -> str:
    prefix = next((prefix for prefix in PREFIXES if name.startswith(prefix)), "")
    return PREFIXES.get(prefix, "mulan.") + name.removeprefix(prefix)


def _is_not_used(name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in NOT_USED)
