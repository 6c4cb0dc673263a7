"""MuQ-MuLan's text tower: XLM-RoBERTa and a transformer over its tokens."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import XLMRobertaConfig, XLMRobertaModel

from cmi_bench.models.cmi_rm.config import MulanConfig
from cmi_bench.models.cmi_rm.transformer import Transformer


class TextTower(nn.Module):
    """Token ids to token embeddings."""

    def __init__(self, mulan: MulanConfig, xlmr_config: Path) -> None:
        """Build the tower; `xlmr_config` is XLM-RoBERTa's `config.json`."""
        super().__init__()
        dim = mulan.text_transformer.dim
        xlmr = XLMRobertaConfig.from_json_file(xlmr_config)
        self.pad_id: int = xlmr.pad_token_id
        self.model = XLMRobertaModel(xlmr, add_pooling_layer=False)
        _make_position_constants(self.model, xlmr.max_position_embeddings)
        self.proj = nn.Linear(mulan.xlmr_dim, dim) if mulan.xlmr_dim not in (None, dim) else nn.Identity()
        self.transformer = Transformer(mulan.text_transformer)

    def forward(self, tokens: Sequence[Sequence[int]]) -> list[Tensor]:
        """Embed tokenized texts; no embedding depends on the other texts.

        Returns:
            For each text [its tokens, dim], the special tokens included.
        """
        lengths = [len(ids) for ids in tokens]
        rows = [torch.tensor(ids) for ids in tokens]
        device = self.model.embeddings.word_embeddings.weight.device
        ids = pad_sequence(rows, batch_first=True, padding_value=self.pad_id).to(device)
        valid = pad_sequence([torch.ones_like(row, dtype=torch.bool) for row in rows], batch_first=True).to(device)
        hidden = self.model(input_ids=ids, attention_mask=valid.long()).last_hidden_state
        embedded = self.transformer(self.proj(hidden), valid)
        return [row[:length] for row, length in zip(embedded, lengths, strict=True)]


def _make_position_constants(model: XLMRobertaModel, positions: int) -> None:
    """Fill the two buffers that no checkpoint holds, also where the network is built without memory."""
    with torch.device("cpu"):
        model.embeddings.position_ids = torch.arange(positions).expand(1, -1)
        model.embeddings.token_type_ids = torch.zeros(1, positions, dtype=torch.long)
