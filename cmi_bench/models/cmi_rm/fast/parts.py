"""The parts of the network that compute, each made when it is first called for."""

from functools import cached_property

import torch

from cmi_bench.models.cmi_rm.audio_tower import AudioTower
from cmi_bench.models.cmi_rm.fast.memory import keep_freed_memory
from cmi_bench.models.cmi_rm.fast.prepare import prepare
from cmi_bench.models.cmi_rm.network import Network
from cmi_bench.models.cmi_rm.precision import Precision
from cmi_bench.models.cmi_rm.scorer import Scorer
from cmi_bench.models.cmi_rm.text_tower import TextTower


class FastParts:
    """The network on a device.

    A run whose embeddings are all in the cache makes the scorer only.
    """

    def __init__(self, network: Network, device: torch.device, precision: Precision, *, compile: bool = False) -> None:  # noqa: A002
        """Take the loaded network, which stays on the CPU and as it is; `compile` the audio tower or not."""
        self._network = network
        self._device = device
        self._precision = precision
        self._compile = compile
        if device.type == "cpu":
            keep_freed_memory()

    @cached_property
    def audio_tower(self) -> AudioTower:
        """Waveform chunks to frames."""
        tower = prepare(self._network.audio_tower, self._device, self._precision)
        if self._compile:
            # Not all of it: mel and convolutions are a handful of the library's own kernels, and slow to compile.
            tower.muq.conformer.compile(dynamic=True)
            tower.transformer.compile(dynamic=True)
        return tower

    @cached_property
    def text_tower(self) -> TextTower:
        """Token ids to token embeddings."""
        return prepare(self._network.text_tower, self._device, self._precision)

    @cached_property
    def scorer(self) -> Scorer:
        """Embeddings to scores."""
        return prepare(self._network.scorer, self._device, self._precision)
