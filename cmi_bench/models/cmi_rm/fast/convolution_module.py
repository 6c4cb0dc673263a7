"""The Conformer's convolution module without transpositions, its normalisation folded."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cmi_bench.models.cmi_rm.conformer import ConvolutionModule
from cmi_bench.models.cmi_rm.fast.fold import fold
from cmi_bench.models.cmi_rm.fast.linear import fast_linear


class FastConvolutionModule(nn.Module):
    """Pointwise convolutions as products; the depthwise one over channels that lie side by side."""

    def __init__(self, module: ConvolutionModule, dtype: torch.dtype) -> None:
        super().__init__()
        self.layer_norm = module.layer_norm
        self.gated = fast_linear(module.pointwise_conv1.weight[..., 0].to(dtype), None)
        weight, bias = fold(module.depthwise_conv, module.batch_norm)
        # oneDNN's depthwise convolution in bfloat16 does not return where a thread gets 16 channels (2.14.1).
        exact = torch.float32 if weight.device.type == "cpu" else dtype
        # [dim, 1, 1, kernel]: an image of one row
        self.weight = weight.unsqueeze(2).to(exact, memory_format=torch.channels_last)
        self.bias = bias.to(exact)
        self.out = fast_linear(module.pointwise_conv2.weight[..., 0].to(dtype), None)

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, time, dim] to the same shape."""
        image = F.glu(self.gated(self.layer_norm(x))).mT.unsqueeze(2)
        padding = (0, (self.weight.shape[3] - 1) // 2)
        with torch.autocast(x.device.type, enabled=False):
            y = F.conv2d(image.to(self.weight.dtype), self.weight, self.bias, padding=padding, groups=len(self.weight))
        return self.out(F.silu(y.squeeze(2).mT, inplace=True).to(image.dtype))
