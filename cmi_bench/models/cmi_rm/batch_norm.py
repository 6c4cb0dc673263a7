"""Batch normalisation with its training statistics frozen."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EPSILON = 1e-5


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
