"""MuQ, the music encoder under MuQ-MuLan: mel frames, a convolutional front end, a Conformer.

MuQ: https://arxiv.org/abs/2501.01108. The Conformer (Gulati et al. 2020, https://arxiv.org/abs/2005.08100) is the
variant with rotary positions of Hugging Face's Wav2Vec2-Conformer: the rotation comes before the query and key
projections.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cmi_bench.models.muq.config import MuqConfig
from cmi_bench.models.muq.mel import LogMel

EPSILON = 1e-5
TRAINING_ONLY = ("cls_token", "conformer.pos_conv_embed.*", "linear.*", "quantizer_*", "rvq.*")
"""Tensors of MuQ's training (patterns of their names), which encoding does not use."""


class FrozenBatchNorm(nn.Module):
    """Normalise each channel (dimension 1) with stored statistics; the same in one and two dimensions."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise [batch, channels, ...]; same shape out."""
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, training=False, eps=EPSILON)

    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """Return what each channel is multiplied by and what is added then: float64 [channels]."""
        scale = self.weight.double() / (self.running_var.double() + EPSILON).sqrt()
        return scale, self.bias.double() - self.running_mean.double() * scale


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


class RotaryPositions(nn.Module):
    """Angles of the rotary position embedding (https://arxiv.org/abs/2104.09864)."""

    inv_freq: Tensor

    def __init__(self, dim_head: int) -> None:
        super().__init__()
        # The checkpoint holds the frequencies, so the configuration's base is not needed.
        self.register_buffer("inv_freq", torch.zeros(dim_head // 2))

    def forward(self, length: int) -> Tensor:
        """Return cosines and sines [2, length, 1, dim_head]."""
        angles = torch.arange(length, device=self.inv_freq.device)[:, None] * self.inv_freq
        angles = torch.cat((angles, angles), dim=-1)[:, None]
        return torch.stack((angles.cos(), angles.sin()))


def rotate(x: Tensor, rotary: Tensor, heads: int) -> Tensor:
    """Turn each head's channel pairs (i, i + dim_head / 2) of x [batch, time, dim] by its position's angle."""
    cos, sin = rotary
    split = x.view(*x.shape[:2], heads, -1)
    first, second = split.chunk(2, dim=-1)
    turned: Tensor = split * cos + torch.cat((-second, first), dim=-1) * sin
    return turned.flatten(2)


class RotarySelfAttention(nn.Module):
    """Self-attention over all frames; queries and keys see rotated input, values do not."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.linear_q = nn.Linear(dim, dim)
        self.linear_k = nn.Linear(dim, dim)
        self.linear_v = nn.Linear(dim, dim)
        self.linear_out = nn.Linear(dim, dim)

    def forward(self, x: Tensor, rotary: Tensor) -> Tensor:
        """Attend within x [batch, time, dim]; same shape out."""
        rotated = rotate(x, rotary, self.heads)
        query, key, value = (
            projected.view(*x.shape[:2], self.heads, -1).transpose(1, 2)
            for projected in (self.linear_q(rotated), self.linear_k(rotated), self.linear_v(x))
        )
        mixed = F.scaled_dot_product_attention(query, key, value)
        out: Tensor = self.linear_out(mixed.transpose(1, 2).flatten(2))
        return out


class FeedForward(nn.Module):
    """Linear, swish, linear."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.intermediate_dense = nn.Linear(dim, hidden)
        self.output_dense = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., dim] to [..., dim]."""
        out: Tensor = self.output_dense(F.silu(self.intermediate_dense(x), inplace=True))
        return out


class PointwiseConv(nn.Conv1d):
    """A convolution of one tap and no bias: a linear layer, with weights [channels out, channels in, 1]."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(channels_in, channels_out, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., channels in] to [..., channels out]."""
        return F.linear(x, self.weight.squeeze(2))


class ConvolutionModule(nn.Module):
    """Gated pointwise convolution, depthwise convolution over time, pointwise convolution."""

    def __init__(self, dim: int, kernel: int) -> None:
        super().__init__()
        self.layer_norm = nn.LayerNorm(dim)
        self.pointwise_conv1 = PointwiseConv(dim, 2 * dim)
        self.depthwise_conv = nn.Conv1d(dim, dim, kernel, padding=(kernel - 1) // 2, groups=dim, bias=False)
        self.batch_norm = FrozenBatchNorm(dim)
        self.pointwise_conv2 = PointwiseConv(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, time, dim] to the same shape."""
        y = F.glu(self.pointwise_conv1(self.layer_norm(x)), dim=-1)
        y = F.silu(self.batch_norm(self._depthwise(y.transpose(1, 2))))
        out: Tensor = self.pointwise_conv2(y.transpose(1, 2))
        return out

    def _depthwise(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu":
            return self._convolve(x)
        # oneDNN's depthwise convolution in bfloat16 does not return where a thread gets 16 channels (torch 2.14.1).
        with torch.autocast("cpu", enabled=False):
            return self._convolve(x.float())

    def _convolve(self, x: Tensor) -> Tensor:
        convolved: Tensor = self.depthwise_conv(x)
        return convolved


class ConformerLayer(nn.Module):
    """Half a feed-forward, attention, convolution, half a feed-forward; each residual, a norm at the end."""

    def __init__(self, *, dim: int, heads: int, ffn_dim: int, conv_kernel: int) -> None:
        super().__init__()
        self.ffn1_layer_norm = nn.LayerNorm(dim)
        self.ffn1 = FeedForward(dim, ffn_dim)
        self.self_attn_layer_norm = nn.LayerNorm(dim)
        self.self_attn = RotarySelfAttention(dim, heads)
        self.conv_module = ConvolutionModule(dim, conv_kernel)
        self.ffn2_layer_norm = nn.LayerNorm(dim)
        self.ffn2 = FeedForward(dim, ffn_dim)
        self.final_layer_norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor, rotary: Tensor) -> Tensor:
        """Map [batch, time, dim] to the same shape."""
        x = x.add(self.ffn1(self.ffn1_layer_norm(x)), alpha=0.5)
        x = x + self.self_attn(self.self_attn_layer_norm(x), rotary)
        x = x + self.conv_module(x)
        x = x.add(self.ffn2(self.ffn2_layer_norm(x)), alpha=0.5)
        out: Tensor = self.final_layer_norm(x)
        return out


class Conformer(nn.Module):
    """The layers under one set of positions, and a last norm."""

    def __init__(
        self, *, dim: int, depth: int, heads: int, ffn_dim: int, conv_kernel: int, layer_norm_eps: float
    ) -> None:
        super().__init__()
        self.embed_positions = RotaryPositions(dim // heads)
        self.layers = nn.ModuleList(
            ConformerLayer(dim=dim, heads=heads, ffn_dim=ffn_dim, conv_kernel=conv_kernel) for _ in range(depth)
        )
        self.layer_norm = nn.LayerNorm(dim, eps=layer_norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        """Encode frames [batch, time, dim], all of them valid; same shape out."""
        rotary = self.embed_positions(x.shape[1])
        for layer in self.layers:
            x = layer(x, rotary)
        out: Tensor = self.layer_norm(x)
        return out


class Muq(nn.Module):
    """Waveform to frames: mel, convolutions, Conformer."""

    def __init__(self, config: MuqConfig) -> None:
        super().__init__()
        stat, conformer = config.stat, config.conformer
        self.mel = LogMel(hop_length=config.hop_length, n_mels=config.n_mels, mean=stat.mean, std=stat.std)
        self.conv = ConvFrontend(
            n_mels=config.n_mels, channels=config.conv_dim, dim=config.encoder_dim, time_strides=config.time_strides
        )
        self.conformer = Conformer(
            dim=config.encoder_dim,
            depth=config.encoder_depth,
            heads=conformer.heads,
            ffn_dim=conformer.ffn_dim,
            conv_kernel=conformer.conv_kernel,
            layer_norm_eps=conformer.layer_norm_eps,
        )

    def forward(self, waveform: Tensor) -> Tensor:
        """Encode waveforms [batch, samples] of one length, without padding, to frames [batch, time, encoder_dim]."""
        return self.encode_mel(self.mel(waveform))

    def encode_mel(self, mel: Tensor) -> Tensor:
        """Encode spectrograms [batch, n_mels, time] to frames [batch, time, encoder_dim]."""
        # In float32 whatever products are computed in: the layers add to what is here.
        frames: Tensor = self.conformer(self.conv(mel).float())
        return frames
