"""MuQ: the music encoder under MuQ-MuLan (https://arxiv.org/abs/2501.01108)."""

from torch import Tensor, nn

from cmi_bench.models.cmi_rm.config import MuqConfig
from cmi_bench.models.cmi_rm.conformer import Conformer
from cmi_bench.models.cmi_rm.conv_frontend import ConvFrontend
from cmi_bench.models.cmi_rm.mel import LogMel


class Muq(nn.Module):
    """Waveform to frames: mel, convolutions, Conformer."""

    def __init__(self, config: MuqConfig) -> None:
        super().__init__()
        self.mel = LogMel(hop_length=config.hop_length, n_mels=config.n_mels, mean=config.mel_mean, std=config.mel_std)
        self.conv = ConvFrontend(
            n_mels=config.n_mels, channels=config.conv_dim, dim=config.encoder_dim, time_strides=config.time_strides
        )
        self.conformer = Conformer(
            dim=config.encoder_dim,
            depth=config.encoder_depth,
            heads=config.heads,
            ffn_dim=config.ffn_dim,
            conv_kernel=config.conv_kernel,
            layer_norm_eps=config.layer_norm_eps,
        )

    def forward(self, waveform: Tensor) -> Tensor:
        """Encode waveforms [batch, samples] of one length, without padding, to frames [batch, time, encoder_dim]."""
        # In float32 whatever products are computed in: the layers add to what is here.
        frames: Tensor = self.conformer(self.conv(self.mel(waveform)).float())
        return frames
