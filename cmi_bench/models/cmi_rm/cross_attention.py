"""The decoder layers of CMI-RM's attention mode CA: the clip's frames look at the prompt."""

from torch import Tensor, nn

from cmi_bench.models.cmi_rm.config import TransformerConfig
from cmi_bench.models.cmi_rm.transformer import GainNorm, SelfAttention, attend, feed_forward, split_heads


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
