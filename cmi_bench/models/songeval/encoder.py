"""MuQ up to one of its hidden states, from a checkpoint of its own."""

from fnmatch import fnmatchcase
from pathlib import Path
from typing import cast

import torch
from torch import nn

from cmi_bench.errors import UserError
from cmi_bench.models.cmi_rm.config import MuqConfig
from cmi_bench.models.cmi_rm.muq import Muq
from cmi_bench.models.strict import load_strictly

NOT_USED = (
    "*.num_batches_tracked",
    "model.cls_token",
    "model.conformer.pos_conv_embed.*",
    "model.linear.*",
    "model.quantizer_*",
    "model.recon_*",
    "model.rvq.*",
)
"""Tensors of MuQ's training that encoding has no use for."""


def load_muq(config: MuqConfig, weights: Path, hidden_state: int) -> Muq:
    """Return MuQ such that its output is a hidden state.

    Args:
        config: MuQ's sizes.
        weights: Its `model.safetensors`, all of which must be right, whatever of it is needed.
        hidden_state: 1 is the output of the first Conformer layer; that of the last one is normalised once more.

    Raises:
        UserError: A tensor is missing, unexpected or of another shape; or there is no such hidden state.
    """
    if not 1 <= hidden_state <= config.encoder_depth:
        raise UserError(
            f"hidden_state={hidden_state}, but the MuQ in {weights.parent} has {config.encoder_depth} layers.",
            f"Set model.hidden_state to 1 to {config.encoder_depth}.",
        )
    with torch.device("meta"):
        muq = Muq(config)
    load_strictly(muq, weights, name_in_file=lambda name: f"model.{name}", is_not_used=_is_not_used)
    if hidden_state < config.encoder_depth:
        muq.conformer.layers = muq.conformer.layers[:hidden_state]
        muq.conformer.layer_norm = cast(nn.LayerNorm, nn.Identity())
    return muq.eval()


def _is_not_used(name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in NOT_USED)
