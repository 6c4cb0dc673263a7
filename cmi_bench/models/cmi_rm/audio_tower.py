"""MuQ-MuLan's audio tower: MuQ, a projection, and a transformer over the frames."""

from torch import Tensor, nn

from cmi_bench.models.cmi_rm.config import MulanConfig, MuqConfig
from cmi_bench.models.cmi_rm.muq import Muq
from cmi_bench.models.cmi_rm.transformer import Transformer


class AudioTower(nn.Module):
    """Waveform chunks to frames."""

    def __init__(self, mulan: MulanConfig, muq: MuqConfig) -> None:
        super().__init__()
        self.muq = Muq(muq)
        self.proj = nn.Linear(mulan.muq_dim, mulan.audio_transformer.dim)
        self.transformer = Transformer(mulan.audio_transformer)

    def forward(self, chunks: Tensor) -> Tensor:
        """Encode chunks by themselves.

        Args:
            chunks: float32 [batch, samples] at 24 kHz: of one length, for a frame depends on all of its
                chunk and padding would change it.

        Returns:
            Frames [batch, time, dim].
        """
        frames: Tensor = self.transformer(self.proj(self.muq(chunks)).float())
        return frames
