"""What can be seen of CUDA without a GPU: devices, types and shapes through the network, and how often it compiles."""

from pathlib import Path

import pytest
import torch
from fake_cuda import CUDA, Products, fake_cuda, prepare_as_on_a_gpu
from torch import nn
from torch._dynamo.testing import CompileCounter

from cmi_bench.models.base import EmbeddedInput
from cmi_bench.models.batching import arithmetic
from cmi_bench.models.cmi_rm.checkpoint import load_cmi_rm
from cmi_bench.models.cmi_rm.network import PreparedNetwork, compiled, judge, windows_on
from cmi_bench.models.hub import find_checkpoint
from cmi_bench.models.kernels.prepare import prepare
from cmi_bench.models.kernels.residual import FoldedResidual

BUNDLE = Path(__file__).parents[1] / "data" / "parity" / "cmi_rm"
CPU = torch.device("cpu")
PRECISIONS = {"32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16}


@pytest.fixture(scope="module")
def network():
    return load_cmi_rm(find_checkpoint(str(BUNDLE / "sa_mean"))).network


CASES = [
    *[("32", "on"), ("bf16", "on")],
    *[pytest.param(*case, marks=pytest.mark.slow) for case in (("tf32", "on"), ("32", "off"), ("bf16", "off"))],
]


@pytest.mark.parametrize(("precision", "kernels"), CASES)
def test_shapes_types_and_devices(network, monkeypatch, precision, kernels):
    """With tensors that hold nothing; an operation on tensors of two devices raises."""
    with fake_cuda(monkeypatch):
        prepared = PreparedNetwork(network, CUDA, precision, kernels=kernels)
        prepared.audio_tower, prepared.text_tower, prepared.scorer  # noqa: B018
        with arithmetic(precision, CUDA), Products() as products:
            frames = prepared.audio_tower(torch.empty(2, 48_000, device=CUDA))
        with arithmetic("32", CUDA):
            text, lyrics = prepared.text_tower([[0, 5, 6, 2], [0, 2]])
            of_a_reference = EmbeddedInput([frames[0], frames[1]], text, lyrics, torch.empty(7, 32))
            clips = [of_a_reference, EmbeddedInput([frames[0]], text, lyrics, None)]
            scores = judge(prepared.scorer, windows_on(CUDA, clips), 8)
    assert (frames.shape, frames.dtype, frames.device) == ((2, 50, 32), torch.float32, CUDA)
    assert (scores.shape, scores.dtype, scores.device) == ((3, 2), torch.float32, CUDA)
    assert products.dtypes.pop("matmul") == {torch.float32}  # the spectrogram's
    assert set.union(*products.dtypes.values()) == {PRECISIONS[precision]}


@pytest.mark.slow
def test_weights_are_held_in_the_type_of_the_products(network, monkeypatch):
    converted = {}
    with fake_cuda(monkeypatch):
        for kernels in ("on", "off"):
            tower = PreparedNetwork(network, CUDA, "bf16", kernels=kernels).audio_tower
            with arithmetic("bf16", CUDA), Products() as products:
                tower(torch.empty(1, 24_000, device=CUDA))
            converted[kernels] = products.converted
    products = (nn.Linear, nn.Conv1d, nn.Conv2d)
    weights = sum(4 * part.weight.numel() for part in network.audio_tower.modules() if isinstance(part, products))
    assert converted["off"] - converted["on"] > 0.9 * weights


@pytest.mark.parametrize(("precision", "is_in_one_piece"), [("32", True), ("tf32", False), ("bf16", False)])
def test_the_order_of_a_convolutions_weights(network, monkeypatch, precision, is_in_one_piece):
    """Channels last for tensor cores, which multiply no float32."""
    with fake_cuda(monkeypatch):
        block = prepare(network.audio_tower.muq.conv.conv[1], CUDA, precision)
    for conv in (block.main, block.shortcut, block.second):
        assert conv.weight.is_contiguous() == is_in_one_piece
        assert conv.weight.is_contiguous(memory_format=torch.channels_last) != is_in_one_piece


@pytest.mark.parametrize(("precision", "apart"), [("32", 1e-5), ("bf16", 0.05)])
def test_what_a_gpu_computes_is_what_the_plain_modules_do(network, monkeypatch, precision, apart):
    """By its modules, on the CPU."""
    tower = prepare_as_on_a_gpu(monkeypatch, network.audio_tower, precision)
    assert isinstance(tower.muq.conv.conv[0], FoldedResidual) and type(tower.proj) is nn.Linear
    chunks = 0.1 * torch.randn(2, 24_000, generator=torch.Generator().manual_seed(0))
    with arithmetic("32", CPU):
        wanted = network.audio_tower(chunks)
    with arithmetic(precision, CPU):
        found = tower(chunks)
    assert (found - wanted).norm() < apart * wanted.norm()


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["32", "bf16"])
def test_one_compilation_serves_batches_of_any_size(network, monkeypatch, precision):
    """The whole of the tower behind the spectrogram is one graph, or the compiler would raise."""
    tower = prepare_as_on_a_gpu(monkeypatch, network.audio_tower, precision)
    compilations = CompileCounter()
    fast = compiled(tower, 24_000, CPU, backend=compilations)
    with arithmetic(precision, CPU):
        for rows in (3, 1, 8, 2):
            chunks = 0.1 * torch.randn(rows, 24_000)
            torch.testing.assert_close(fast(chunks), tower(chunks), atol=1e-5, rtol=1e-4)
        other = 0.1 * torch.randn(2, 12_345)
        torch.testing.assert_close(fast(other), tower(other), atol=0.0, rtol=0.0)
    another = compiled(
        prepare_as_on_a_gpu(monkeypatch, network.audio_tower, precision), 24_000, CPU, backend=compilations
    )
    with arithmetic(precision, CPU):  # as of a sweep's next checkpoint
        torch.testing.assert_close(another(chunks), fast(chunks), atol=1e-5, rtol=1e-4)
    assert compilations.frame_count == 1
