"""XLM-RoBERTa (https://arxiv.org/abs/1911.02116), which MuQ-MuLan's text tower begins with.

Its modules have the names of the tensors in Hugging Face's files. It is written out here since importing it from
`transformers` takes four processor seconds, of every command that encodes a text.
"""

from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from cmi_bench.models.muq.config import XlmRobertaConfig
from cmi_bench.models.muq.transformer import attend, split_heads


class XlmRoberta(nn.Module):
    """Token ids to hidden states: the last layer's, without the pooler."""

    def __init__(self, config: XlmRobertaConfig) -> None:
        super().__init__()
        self.embeddings = Embeddings(config)
        self.encoder = nn.Module()
        self.encoder.layer = nn.ModuleList([EncoderLayer(config) for _ in range(config.depth)])

    def forward(self, ids: Tensor, valid: Tensor) -> Tensor:
        """Encode token ids.

        Args:
            ids: int64 [batch, length].
            valid: bool [batch, length], False for padding.

        Returns:
            Hidden states [batch, length, width]; those of padding mean nothing.
        """
        hidden: Tensor = self.embeddings(ids)
        for layer in cast(nn.ModuleList, self.encoder.layer):
            hidden = layer(hidden, valid)
        return hidden


class Embeddings(nn.Module):
    """The sum of a token's, its position's and its type's embedding, normalised; all tokens are of the first type."""

    def __init__(self, config: XlmRobertaConfig) -> None:
        super().__init__()
        self.pad_id = config.pad_id
        self.word_embeddings = nn.Embedding(config.vocab_size, config.width)
        self.position_embeddings = nn.Embedding(config.positions, config.width)
        self.token_type_embeddings = nn.Embedding(config.types, config.width)
        self.LayerNorm = nn.LayerNorm(config.width, eps=config.layer_norm_eps)

    def forward(self, ids: Tensor) -> Tensor:
        """Embed token ids [batch, length]: [batch, length, width]."""
        # Positions are counted from the padding token's id on, which all padding has.
        counted = (ids != self.pad_id).long()
        positions = self.pad_id + counted.cumsum(dim=1) * counted
        types = self.token_type_embeddings.weight[0]
        embedded: Tensor = self.LayerNorm(self.word_embeddings(ids) + types + self.position_embeddings(positions))
        return embedded


class EncoderLayer(nn.Module):
    """Attention and a feed-forward, each normalised after it is added."""

    def __init__(self, config: XlmRobertaConfig) -> None:
        super().__init__()
        width = config.width
        self.heads = config.heads
        queries = nn.ModuleDict({name: nn.Linear(width, width) for name in ("query", "key", "value")})
        self.attention = nn.ModuleDict({"self": queries, "output": Residual(width, config)})
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, config.ffn_dim)})
        self.output = Residual(config.ffn_dim, config)

    def forward(self, hidden: Tensor, valid: Tensor) -> Tensor:
        """Map [batch, length, width] to the same; keys that are not valid [batch, length] are passed over."""
        query, key, value = (
            split_heads(to(hidden), self.heads) for to in cast(nn.ModuleDict, self.attention["self"]).values()
        )
        attended = attend(query, key, value, valid, scale=query.shape[-1] ** -0.5)
        hidden = self.attention["output"](attended, hidden)
        wide = F.gelu(self.intermediate["dense"](hidden))
        mapped: Tensor = self.output(wide, hidden)
        return mapped


class Residual(nn.Module):
    """A product that is added to what came before, and the normalisation of the sum."""

    def __init__(self, inputs: int, config: XlmRobertaConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(inputs, config.width)
        self.LayerNorm = nn.LayerNorm(config.width, eps=config.layer_norm_eps)

    def forward(self, x: Tensor, before: Tensor) -> Tensor:
        """Map x [..., inputs] and add it to `before` [..., width]."""
        added: Tensor = self.LayerNorm(self.dense(x) + before)
        return added
