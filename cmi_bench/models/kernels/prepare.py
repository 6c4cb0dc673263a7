"""From the network that the weights were loaded into to the one that computes on a device.

Batch normalisations are folded into the convolutions before them, and weights are held in the type that products are
computed in. On the CPU products are packed as well, and in float32 the front end's 3x3 convolutions of stride 1 are
Winograd's. Which kernel a layer gets depends on its type, the precision and the kind of device only, so that every
process on a machine computes alike.
"""

from collections.abc import Callable, Mapping
from copy import copy
from typing import Literal, TypeVar, cast, get_args

import torch
from torch import Tensor, nn

from cmi_bench.errors import UserError, did_you_mean
from cmi_bench.models.batching import Precision
from cmi_bench.models.kernels.packed import PointwiseConv, make_linear
from cmi_bench.models.kernels.winograd import WinogradConv
from cmi_bench.models.muq.encoder import ConvolutionModule, FrozenBatchNorm, ResidualConv2d

Kernels = Literal["on", "off"]
DTYPES: dict[Precision, torch.dtype] = {"32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16}
"""What weights of products are held in."""

Part = TypeVar("Part", bound=nn.Module)
Conv = TypeVar("Conv", nn.Conv1d, nn.Conv2d)


def checked_kernels(name: str) -> Kernels:
    """Return the setting named.

    Raises:
        UserError: There is none of that name.
    """
    if name not in get_args(Kernels):
        raise UserError(f"There is no kernels={name}.", did_you_mean(name, get_args(Kernels)))
    return cast(Kernels, name)


def prepare(part: Part, device: torch.device, precision: Precision, kernels: Kernels = "on") -> Part:
    """Return a part of a network, or all of it, for inference on a device.

    The same function but for rounding, to be called inside `batching.arithmetic`. The part itself stays as it was, on
    the CPU and in float32; tensors that do not change are shared with it, which may be mapped from a file.
    """
    dtype = DTYPES[precision]
    winograd = device.type == "cpu" and dtype == torch.float32  # differences of large numbers are not for bfloat16
    replacements: dict[type[nn.Module], Callable[[nn.Module], nn.Module]] = {}
    if kernels == "on":
        replacements = {
            ResidualConv2d: lambda block: _fold_residual(cast(ResidualConv2d, block), dtype, winograd=winograd),
            ConvolutionModule: lambda module: _fold_convolution_module(cast(ConvolutionModule, module), dtype),
            nn.Linear: lambda linear: _pack(cast(nn.Linear, linear), dtype),
        }
    return cast(Part, rebuild(part, lambda tensor: tensor.to(device), replacements))


def rebuild(
    module: nn.Module,
    move: Callable[[Tensor], Tensor],
    replacements: Mapping[type[nn.Module], Callable[[nn.Module], nn.Module]],
) -> nn.Module:
    """Return the module with its tensors moved and its parts replaced.

    Args:
        module: Left unchanged; tensors that need no moving are shared with it.
        move: Returns a tensor where it is wanted.
        replacements: By type, what makes the replacement from a copy of such a part, whose tensors have been moved.
    """
    made: dict[int, nn.Module] = {}

    def copied(part: nn.Module) -> nn.Module:
        if id(part) not in made:
            new = copy(part)
            new._parameters = {
                name: parameter if parameter is None else nn.Parameter(move(parameter.data), requires_grad=False)
                for name, parameter in part._parameters.items()
            }
            new._buffers = {name: buffer if buffer is None else move(buffer) for name, buffer in part._buffers.items()}
            new._modules = {name: None if child is None else copied(child) for name, child in part._modules.items()}
            replace = next((replacements[kind] for kind in type(part).__mro__ if kind in replacements), None)
            made[id(part)] = new if replace is None else replace(new)
        return made[id(part)]

    return copied(module)


def fold(conv: Conv, norm: FrozenBatchNorm, dtype: torch.dtype = torch.float32) -> Conv:
    """Return a convolution that gives what `norm` makes of `conv`'s result, in two dimensions with channels last."""
    scale, shift = norm.scale_and_shift()
    weight = conv.weight.double() * scale.view(-1, *(1,) * (conv.weight.ndim - 1))
    bias = shift if conv.bias is None else shift + conv.bias.double() * scale
    order = torch.channels_last if weight.ndim == 4 else torch.contiguous_format
    folded = copy(conv)
    folded._parameters = {
        "weight": nn.Parameter(weight.to(dtype).contiguous(memory_format=order), requires_grad=False),
        "bias": nn.Parameter(bias.to(dtype), requires_grad=False),
    }
    return folded


def _fold_residual(block: ResidualConv2d, dtype: torch.dtype, *, winograd: bool) -> ResidualConv2d:
    for conv, norm in (("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3")):
        setattr(block, conv, fold(getattr(block, conv), getattr(block, norm), dtype))
        setattr(block, norm, nn.Identity())
    if winograd:
        block.conv2 = cast(nn.Conv2d, WinogradConv(block.conv2.weight, cast(Tensor, block.conv2.bias)))
    return block


def _fold_convolution_module(module: ConvolutionModule, dtype: torch.dtype) -> ConvolutionModule:
    module.depthwise_conv = fold(module.depthwise_conv, module.batch_norm)
    module.batch_norm = cast(FrozenBatchNorm, nn.Identity())
    for name in ("pointwise_conv1", "pointwise_conv2"):
        setattr(module, name, PointwiseConv(getattr(module, name).weight.to(dtype)))
    return module


def _pack(linear: nn.Linear, dtype: torch.dtype) -> nn.Module:
    return make_linear(linear.weight.to(dtype), None if linear.bias is None else linear.bias.to(dtype))
