"""The Conformer encoder of MuQ.

Gulati et al. 2020 (https://arxiv.org/abs/2005.08100), in the variant with rotary positions that Hugging
Face's Wav2Vec2-Conformer has: there the rotation comes before the query and key projections.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cmi_bench.models.cmi_rm.batch_norm import FrozenBatchNorm


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


class ConvolutionModule(nn.Module):
    """Gated pointwise convolution, depthwise convolution over time, pointwise convolution."""

    def __init__(self, dim: int, kernel: int) -> None:
        super().__init__()
        self.layer_norm = nn.LayerNorm(dim)
        self.pointwise_conv1 = nn.Conv1d(dim, 2 * dim, 1, bias=False)
        self.depthwise_conv = nn.Conv1d(dim, dim, kernel, padding=(kernel - 1) // 2, groups=dim, bias=False)
        self.batch_norm = FrozenBatchNorm(dim)
        self.pointwise_conv2 = nn.Conv1d(dim, dim, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, time, dim] to the same shape."""
        y = F.glu(self.pointwise_conv1(self.layer_norm(x).transpose(1, 2)), dim=1)
        y = F.silu(self.batch_norm(self.depthwise_conv(y)))
        out: Tensor = self.pointwise_conv2(y)
        return out.transpose(1, 2)


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
