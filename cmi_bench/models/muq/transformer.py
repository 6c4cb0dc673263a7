"""The transformer of MuQ-MuLan, which CMI-RM uses again, and the decoder layers of CMI-RM's attention mode CA.

Pre-norm blocks without a final norm; queries and keys are normalised (https://arxiv.org/abs/2010.04245), feed-forwards
gated (https://arxiv.org/abs/2002.05202).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cmi_bench.models.muq.config import TransformerConfig

ATTENTION_SCALE = 8.0
"""Sharpness of the softmax over cosines, fixed in MuQ-MuLan."""


class GainNorm(nn.Module):
    """Layer normalisation with a gain and no bias."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.learned_gamma = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last dimension of [..., dim]."""
        return F.layer_norm(x, x.shape[-1:], self.learned_gamma)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """Split [batch, length, heads * dim_head] into [batch, heads, length, dim_head]."""
    return x.view(*x.shape[:2], heads, x.shape[-1] // heads).transpose(1, 2)


def attend(query: Tensor, key: Tensor, value: Tensor, valid: Tensor | None, scale: float) -> Tensor:
    """Mix values by the softmax of scaled products.

    Args:
        query: [batch, heads, queries, dim_head].
        key: [batch, heads, keys, dim_head].
        value: Like `key`.
        valid: bool [batch, keys], False for padding; None where nothing is padded. Without a valid key
            the result is zero.
        scale: Factor of the products.

    Returns:
        [batch, queries, heads * dim_head].
    """
    if not (query.shape[2] and key.shape[2]):
        return torch.zeros_like(query).transpose(1, 2).flatten(2)
    mask = None if valid is None else valid[:, None, None, :]
    mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)
    if mask is not None:
        # A softmax over nothing is not a number with some of the kernels.
        mixed = mixed.masked_fill(~mask.any(dim=-1, keepdim=True), 0.0)
    return mixed.transpose(1, 2).flatten(2)


class SelfAttention(nn.Module):
    """Attention over cosines within one sequence."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        inner = config.heads * config.dim_head
        self.heads = config.heads
        self.norm = GainNorm(config.dim)
        self.to_q = nn.Linear(config.dim, inner, bias=False)
        self.to_kv = nn.Linear(config.dim, 2 * inner, bias=False)
        self.q_scale = nn.Parameter(torch.ones(config.dim_head))
        self.k_scale = nn.Parameter(torch.ones(config.dim_head))
        self.to_out = nn.Sequential(nn.Linear(inner, config.dim, bias=False))

    def forward(self, x: Tensor, valid: Tensor | None = None, *, first: int | None = None) -> Tensor:
        """Attend within x [batch, length, dim]; `valid` [batch, length] is False for padding.

        With `first` only that many positions, from the start, are computed: [batch, first, dim].
        """
        normed = self.norm(x)
        query = split_heads(self.to_q(normed[:, :first]), self.heads)
        key, value = (split_heads(half, self.heads) for half in self.to_kv(normed).chunk(2, dim=-1))
        query = (F.normalize(query, dim=-1) * self.q_scale).to(value.dtype)
        key = (F.normalize(key, dim=-1) * self.k_scale).to(value.dtype)
        out: Tensor = self.to_out(attend(query, key, value, valid, ATTENTION_SCALE))
        return out


class GatedGelu(nn.Module):
    """The first half of the channels times GELU of the second half."""

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., 2 * hidden] to [..., hidden]."""
        values, gate = x.chunk(2, dim=-1)
        return values * F.gelu(gate)


def feed_forward(config: TransformerConfig) -> nn.Sequential:
    """Return norm, gated hidden layer and projection; position 3 is where training has its dropout."""
    hidden = int(config.dim * config.ff_mult * 2 / 3)
    return nn.Sequential(
        GainNorm(config.dim),
        nn.Linear(config.dim, 2 * hidden, bias=False),
        GatedGelu(),
        nn.Identity(),
        nn.Linear(hidden, config.dim, bias=False),
    )


class Block(nn.ModuleList):
    """Attention, then feed-forward; each residual."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__((SelfAttention(config), feed_forward(config)))

    def forward(self, x: Tensor, valid: Tensor | None, *, first: int | None = None) -> Tensor:
        """Transform x [batch, length, dim]; `valid` [batch, length] is False for padding.

        With `first` only that many positions, from the start, come out.
        """
        attention, ff = self
        x = x[:, :first] + attention(x, valid, first=first)
        out: Tensor = x + ff(x)
        return out


class Transformer(nn.Module):
    """A stack of blocks."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Block(config) for _ in range(config.depth))

    def forward(self, x: Tensor, valid: Tensor | None = None, *, first: int | None = None) -> Tensor:
        """Transform sequences.

        Args:
            x: [batch, length, dim]; length 0 passes through.
            valid: bool [batch, length], False for padding, which no valid position sees; None: all valid.
            first: How many positions, from the start, are wanted; None for all. The last block computes no others.

        Returns:
            The shape of `x`, or [batch, first, dim]; what stands at padded positions means nothing.
        """
        last = len(self.layers) - 1
        for number, block in enumerate(self.layers):
            x = block(x, valid, first=first if number == last else None)
        return x[:, :first]


class CrossAttention(nn.Module):
    """Plain scaled dot-product attention of one sequence onto another."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        inner = config.heads * config.dim_head
        self.heads = config.heads
        self.scale = config.dim_head**-0.5
        self.norm_q = GainNorm(config.dim)
        self.norm_kv = GainNorm(config.dim)
        self.to_q = nn.Linear(config.dim, inner, bias=False)
        self.to_kv = nn.Linear(config.dim, 2 * inner, bias=False)
        self.to_out = nn.Sequential(nn.Linear(inner, config.dim, bias=False))

    def forward(self, x: Tensor, onto: Tensor, onto_valid: Tensor | None) -> Tensor:
        """Attend from x [batch, length, dim] onto [batch, other, dim], whose padding is False in `onto_valid`."""
        query = split_heads(self.to_q(self.norm_q(x)), self.heads)
        key, value = (split_heads(half, self.heads) for half in self.to_kv(self.norm_kv(onto)).chunk(2, dim=-1))
        out: Tensor = self.to_out(attend(query, key, value, onto_valid, self.scale))
        return out


class DecoderLayer(nn.Module):
    """Self-attention, cross-attention, feed-forward; each residual."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.self_attn = SelfAttention(config)
        self.cross_attn = CrossAttention(config)
        self.ffn = feed_forward(config)

    def forward(self, x: Tensor, valid: Tensor | None, onto: Tensor, onto_valid: Tensor | None) -> Tensor:
        """Transform x [batch, length, dim] in view of `onto` [batch, other, dim]; masks are False for padding."""
        x = x + self.self_attn(x, valid)
        x = x + self.cross_attn(x, onto, onto_valid)
        out: Tensor = x + self.ffn(x)
        return out
