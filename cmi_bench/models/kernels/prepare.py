"""From the network that the weights were loaded into to the one that computes on a device.

Batch normalisations are folded into the convolutions before them, and weights are held in the type that products are
computed in. On the CPU products are packed as well, and the front end's 3x3 convolutions are Winograd's, except in
bfloat16 on processors that compute it. Which kernel a layer gets depends on its type, the precision, and the kind of
device and processor only, so that every process on a machine computes alike.
"""

from collections.abc import Callable, Mapping
from copy import copy
from functools import partial
from typing import Literal, TypeVar, cast, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cmi_bench.errors import UserError, did_you_mean
from cmi_bench.models.batching import Precision, computes_bf16
from cmi_bench.models.kernels.packed import make_linear
from cmi_bench.models.kernels.residual import EntryOfOne, FoldedResidual, ResidualInStrips
from cmi_bench.models.kernels.winograd import WinogradConv
from cmi_bench.models.muq.encoder import ConvolutionModule, FrozenBatchNorm, PointwiseConv, ResidualConv2d
from cmi_bench.utils.memory import FilePages

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
    # Channels last is for tensor cores, which multiply no float32; cuDNN has more algorithms for channels in one piece.
    order = torch.contiguous_format if device.type == "cuda" and precision == "32" else torch.channels_last
    replacements: dict[type[nn.Module], Callable[[nn.Module], nn.Module]] = {}
    if kernels == "on":
        replacements = {
            ResidualConv2d: lambda block: _fold_residual(cast(ResidualConv2d, block), dtype, order),
            ConvolutionModule: lambda module: _fold_convolution_module(cast(ConvolutionModule, module)),
            PointwiseConv: lambda conv: make_linear(cast(PointwiseConv, conv).weight.squeeze(2).to(dtype), None),
            nn.Linear: lambda linear: _pack(cast(nn.Linear, linear), dtype),
        }
        pages = FilePages()
        replacements = {kind: partial(_replaced, replace, pages) for kind, replace in replacements.items()}
    return cast(Part, rebuild(part, lambda tensor: tensor.to(device), replacements))


def _replaced(replace: Callable[[nn.Module], nn.Module], pages: FilePages, part: nn.Module) -> nn.Module:
    """Return what replaces a part, and give back the pages of the file that the part's weights were read from."""
    weights = [weight for weight in part.parameters() if weight.device.type == "cpu"]
    made = replace(part)
    for weight in weights:
        pages.release(weight.data_ptr(), weight.nbytes)
    return made


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


def fold(
    conv: Conv,
    norm: FrozenBatchNorm,
    dtype: torch.dtype = torch.float32,
    order: torch.memory_format = torch.contiguous_format,
) -> Conv:
    """Return a convolution that gives what `norm` makes of `conv`'s result, with weights of a type and order."""
    scale, shift = norm.scale_and_shift()
    weight = conv.weight.double() * scale.view(-1, *(1,) * (conv.weight.ndim - 1))
    bias = shift if conv.bias is None else shift + conv.bias.double() * scale
    folded = copy(conv)
    folded._parameters = {
        # Cloned, for `contiguous` leaves weights of one channel as they are, and channels would be first in the result.
        "weight": nn.Parameter(weight.to(dtype).clone(memory_format=order), requires_grad=False),
        "bias": nn.Parameter(bias.to(dtype), requires_grad=False),
    }
    return folded


class DepthwiseConv(nn.Module):
    """A depthwise convolution over time, several times as fast on the CPU with its channels side by side in memory."""

    def __init__(self, conv: nn.Conv1d) -> None:
        """Take over a convolution."""
        super().__init__()
        self.weight = conv.weight.unsqueeze(2).contiguous(memory_format=torch.channels_last)
        self.bias = conv.bias
        self.padding = (0, int(conv.padding[0]))

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, channels, time] to the same shape."""
        line = x.unsqueeze(2).contiguous(memory_format=torch.channels_last)
        return F.conv2d(line, self.weight, self.bias, padding=self.padding, groups=len(self.weight)).squeeze(2)


def _fold_residual(block: ResidualConv2d, dtype: torch.dtype, order: torch.memory_format) -> nn.Module:
    main, second, shortcut = (
        fold(conv, norm, dtype, order)
        for conv, norm in ((block.conv1, block.bn1), (block.conv2, block.bn2), (block.conv3, block.bn3))
    )
    if not _computes_float32(main.weight):
        return FoldedResidual(main, shortcut, second)
    stride = cast(tuple[int, int], main.stride)
    weight, bias = (torch.cat((getattr(main, name), getattr(shortcut, name))).float() for name in ("weight", "bias"))
    one = main.in_channels == 1
    return ResidualInStrips(
        EntryOfOne(weight, bias, stride) if one else WinogradConv(weight, bias, stride, dtype),
        WinogradConv(second.weight.float(), cast(Tensor, second.bias).float(), dtype=dtype),
    )


def _computes_float32(weight: Tensor) -> bool:
    """Tell whether convolutions with weights of this type and place are computed in float32 on the CPU."""
    return weight.device.type == "cpu" and not (weight.dtype == torch.bfloat16 and computes_bf16())


def _fold_convolution_module(module: ConvolutionModule) -> ConvolutionModule:
    folded = fold(module.depthwise_conv, module.batch_norm)
    on_cpu = folded.weight.device.type == "cpu"
    module.depthwise_conv = cast(nn.Conv1d, DepthwiseConv(folded)) if on_cpu else folded
    module.batch_norm = cast(FrozenBatchNorm, nn.Identity())
    return module


def _pack(linear: nn.Linear, dtype: torch.dtype) -> nn.Module:
    return make_linear(linear.weight.to(dtype), None if linear.bias is None else linear.bias.to(dtype))
