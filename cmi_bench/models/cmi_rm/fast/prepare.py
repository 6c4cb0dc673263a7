"""From the network that the weights were loaded into to the one that computes."""

from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from cmi_bench.models.cmi_rm.conformer import ConvolutionModule, RotarySelfAttention
from cmi_bench.models.cmi_rm.conv_frontend import ConvFrontend
from cmi_bench.models.cmi_rm.fast.attention import FastRotarySelfAttention
from cmi_bench.models.cmi_rm.fast.convolution_module import FastConvolutionModule
from cmi_bench.models.cmi_rm.fast.frontend import FastFrontend
from cmi_bench.models.cmi_rm.fast.linear import fast_linear
from cmi_bench.models.cmi_rm.fast.rebuild import rebuild
from cmi_bench.models.cmi_rm.precision import Precision

Part = TypeVar("Part", bound=nn.Module)

DTYPES: dict[Precision, torch.dtype] = {"32": torch.float32, "bf16": torch.bfloat16}
"""What products are computed in, and their weights held in."""


def prepare(part: Part, device: torch.device, precision: Precision) -> Part:
    """Return a part of the network, or all of it, for inference on a device.

    The same function but for rounding, to be called inside `precision.arithmetic`. The part itself stays as it
    was, on the CPU and in float32; where nothing is changed its tensors are shared, which may be mapped from a file.
    """
    dtype = DTYPES[precision]

    def move(tensor: Tensor) -> Tensor:
        return tensor.to(device)

    def linear(layer: nn.Linear) -> nn.Module:
        bias = None if layer.bias is None else layer.bias.to(dtype)
        return cast(nn.Module, fast_linear(layer.weight.to(dtype), bias))

    return cast(
        Part,
        rebuild(
            part,
            move,
            {
                ConvFrontend: lambda front: FastFrontend(cast(ConvFrontend, front), dtype),
                ConvolutionModule: lambda module: FastConvolutionModule(cast(ConvolutionModule, module), dtype),
                RotarySelfAttention: lambda module: FastRotarySelfAttention(cast(RotarySelfAttention, module), dtype),
                nn.Linear: lambda layer: linear(cast(nn.Linear, layer)),
            },
        ),
    )
