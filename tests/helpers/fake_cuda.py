"""A GPU's computation without one: on tensors that say they are there and hold nothing, or by its modules here."""

from contextlib import contextmanager

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from cmi_bench.models.kernels import packed
from cmi_bench.models.kernels import prepare as prepare_module
from cmi_bench.models.kernels.prepare import prepare

CUDA = torch.device("cuda", 0)


@contextmanager
def fake_cuda(monkeypatch):
    """Make new tensors fake, and let autocast believe that there is a GPU with bfloat16; what mixes devices raises."""
    with monkeypatch.context() as patch, FakeTensorMode(allow_non_fake_inputs=True):
        patch.setattr("torch.amp.autocast_mode.torch.cuda.amp.common.amp_definitely_not_available", lambda: False)
        patch.setattr(torch.cuda, "is_bf16_supported", lambda *_, **__: True)
        yield


def prepare_as_on_a_gpu(monkeypatch, part, precision):
    """Return a part of a network on the CPU as `prepare` would make it for a GPU: PyTorch's layers, not packed ones."""
    with monkeypatch.context() as patch:
        patch.setattr(packed, "can_pack", lambda dtype: False)
        patch.setattr(packed, "computes_bf16", lambda: True)
        patch.setattr(prepare_module, "_computes_float32", lambda weight: False)
        patch.setattr(prepare_module, "DepthwiseConv", lambda conv: conv)
        return prepare(part, torch.device("cpu"), precision)


PRODUCTS = ("linear", "conv1d", "conv2d", "matmul", "scaled_dot_product_attention")


class Products(TorchDispatchMode):
    """Writes down the types that products are computed in, and how many bytes are converted from type to type."""

    def __init__(self):
        super().__init__()
        self.dtypes = {}
        self.converted = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        name = function.overloadpacket.__name__
        if name in PRODUCTS:
            self.dtypes.setdefault(name, set()).add(made.dtype)
        if name == "to" and made.dtype != args[0].dtype:
            self.converted += args[0].numel() * args[0].element_size()
        return made
