"""SongEval's head (https://arxiv.org/abs/2505.10793; the code is its definition): frames to five ratings."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from cmi_bench.models.cmi_rm.config_file import read_config

RATINGS = ("coherence", "musicality", "memorability", "clarity", "naturalness")
HEADS = 8
"""Fixed in SongEval's code."""


@dataclass(frozen=True)
class HeadConfig:
    """Sizes of the head: `generator` in SongEval's `config.yaml`."""

    dim: int
    """Width of the frames."""
    hidden: int
    """Width inside the feed-forward."""
    attention_layers: int


def read_head_config(file: Path) -> HeadConfig:
    """Read SongEval's `config.yaml`.

    Raises:
        UserError: The file, or a key in it, is missing or not understood; the message names it.
    """
    generator = read_config(file).section("generator")
    if generator.size("num_classes") != len(RATINGS):
        raise generator.error("num_classes", f"is {generator.values['num_classes']}; expected {len(RATINGS)}.")
    dim = generator.size("in_features")
    if dim % HEADS:
        raise generator.error("in_features", f"is {dim}, which {HEADS} attention heads do not divide.")
    return HeadConfig(dim, generator.size("ffd_hidden_size"), generator.get("attn_layer_num", int))


class SongEvalHead(nn.Module):
    """A feed-forward over the frames, self-attention layers one after the other, pooling, a projection."""

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        self.attn = nn.ModuleList(
            nn.MultiheadAttention(config.dim, HEADS, batch_first=True) for _ in range(config.attention_layers)
        )
        self.ffd = nn.Sequential(nn.Linear(config.dim, config.hidden), nn.ReLU(), nn.Linear(config.hidden, config.dim))
        self.fc = nn.Linear(2 * config.dim, len(RATINGS))

    def forward(self, frames: Tensor) -> Tensor:
        """Rate songs of one length, frames [batch, time, dim]: [batch, 5] from 1 to 5, in the order of `RATINGS`."""
        features = self.ffd(frames)
        attended = features
        for layer in self.attn:  # without residual connections, as it was trained
            attended, _ = layer(attended, attended, attended, need_weights=False)
        pooled = torch.cat((attended.mean(dim=1), features.amax(dim=1)), dim=1)
        return 2.0 * torch.tanh(self.fc(pooled)) + 3.0
