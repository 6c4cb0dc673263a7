"""MuQ's convolutional front end: from mel frames to encoder frames."""

from torch import Tensor, nn
from torch.nn import functional as F

from cmi_bench.models.cmi_rm.batch_norm import FrozenBatchNorm

MEL_STRIDE = 2
"""Each block halves the number of mel bands."""


class ResidualConv2d(nn.Module):
    """Two convolutions beside a third one as the shortcut; the stride is in the first and the third."""

    def __init__(self, channels_in: int, channels_out: int, stride: tuple[int, int]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1, stride=stride)
        self.bn1 = FrozenBatchNorm(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        self.bn2 = FrozenBatchNorm(channels_out)
        self.conv3 = nn.Conv2d(channels_in, channels_out, 3, padding=1, stride=stride)
        self.bn3 = FrozenBatchNorm(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, channels_in, mel, time] to [batch, channels_out, mel / stride, time / stride], rounded up."""
        main = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(main + self.bn3(self.conv3(x)))


class ConvFrontend(nn.Module):
    """Two residual blocks and a projection."""

    def __init__(self, *, n_mels: int, channels: int, dim: int, time_strides: tuple[int, int]) -> None:
        super().__init__()
        first, second = time_strides
        self.conv = nn.Sequential(
            ResidualConv2d(1, channels, (MEL_STRIDE, first)),
            ResidualConv2d(channels, channels, (MEL_STRIDE, second)),
        )
        self.linear = nn.Linear(channels * (n_mels // MEL_STRIDE // MEL_STRIDE), dim)

    def forward(self, mel: Tensor) -> Tensor:
        """Map mel frames [batch, n_mels, time] to frames [batch, ceil(ceil(time / s1) / s2), dim]."""
        features: Tensor = self.conv(mel.unsqueeze(1))
        # [batch, channel, mel, time] -> [batch, time, channel and mel], channel-major
        frames: Tensor = self.linear(features.permute(0, 3, 1, 2).flatten(2))
        return frames
