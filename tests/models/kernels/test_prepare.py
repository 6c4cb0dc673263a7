"""The prepared network is the loaded one."""

import os
import subprocess
import sys

import pytest
import torch
from file_pages import resident_bytes
from random_towers import small_tower
from safetensors.torch import load_file, save_file
from torch import nn

from cmi_bench.errors import UserError
from cmi_bench.models.batching import arithmetic
from cmi_bench.models.kernels.packed import PackedLinear, can_pack
from cmi_bench.models.kernels.prepare import checked_kernels, fold, prepare
from cmi_bench.models.muq.encoder import (
    ConvFrontend,
    ConvolutionModule,
    FrozenBatchNorm,
)

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("seeded")


def randomise(module):
    """Fill a module so that layers keep the size of their input, with statistics far from 0 and 1."""
    for name, tensor in module.state_dict().items():
        if name.endswith(("running_var", "norm.weight", "bn1.weight", "bn2.weight", "bn3.weight")):
            tensor.uniform_(0.3, 3.0)
        elif tensor.ndim > 1:
            tensor.normal_(std=tensor[0].numel() ** -0.5)
        else:
            tensor.normal_()
    return module.requires_grad_(False).eval()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("conv", [nn.Conv1d, nn.Conv2d])
def test_folded_is_unfolded(conv, bias):
    conv, norm = randomise(conv(6, 4, 3, bias=bias)), randomise(FrozenBatchNorm(4))
    x = torch.randn(2, 6, *(9,) * (conv.weight.ndim - 2))
    torch.testing.assert_close(fold(conv, norm)(x), norm(conv(x)), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("strides", [(2, 2), (2, 1)], ids=["25 Hz", "50 Hz"])
def test_front_end(strides):
    front = randomise(ConvFrontend(n_mels=16, channels=6, dim=5, time_strides=strides))
    fast = prepare(front, CPU, "32")
    for frames in (1, 2, 5, 24, 25, 99, 1100):
        mel = torch.randn(2, 16, frames)
        torch.testing.assert_close(fast(mel), front(mel), atol=3e-5, rtol=1e-5)


def by_threads(module, x, *, counts):
    """Return what a module computes with so many threads, for each number."""
    threads, found = torch.get_num_threads(), []
    try:
        for count in counts:
            torch.set_num_threads(count)
            with arithmetic("32", CPU):
                found.append(module(x))
    finally:
        torch.set_num_threads(threads)
    return found


def test_blocks_in_strips_of_one_thread_and_of_three():
    front = prepare(randomise(ConvFrontend(n_mels=16, channels=6, dim=5, time_strides=(2, 2))), CPU, "32")
    assert torch.equal(*by_threads(front, torch.randn(1, 16, 2500), counts=(1, 3)))


def test_convolution_module():
    module = randomise(ConvolutionModule(24, 31))
    fast = prepare(module, CPU, "32")
    for frames in (1, 7, 80):
        x = torch.randn(3, frames, 24)
        torch.testing.assert_close(fast(x), module(x), atol=1e-5, rtol=1e-5)


def test_one_thread_and_two_compute_the_same():
    """PyTorch's own convolutions of kernel 1 do not, from this size on."""
    module = prepare(randomise(ConvolutionModule(512, 31)), CPU, "32")
    assert torch.equal(*by_threads(module, torch.randn(1, 150, 512), counts=(1, 2)))


@pytest.fixture(scope="module")
def tower():
    torch.manual_seed(1)
    tower = randomise(small_tower())
    tower.muq.conformer.embed_positions.inv_freq.copy_(10_000.0 ** -(torch.arange(32) / 32))
    return tower


def test_audio_tower_and_its_batches(tower):
    fast = prepare(tower, CPU, "32")
    chunks = torch.randn(4, 40_000) * 0.1
    with arithmetic("32", CPU):
        together = fast(chunks)
        torch.testing.assert_close(together, tower(chunks), atol=1e-4, rtol=0.0)
        alone = torch.cat([fast(chunk[None]) for chunk in chunks.flip(0)]).flip(0)
        torch.testing.assert_close(together, alone, atol=1e-4, rtol=0.0)


def test_bf16_is_close_and_held_in_bf16(tower):
    fast = prepare(tower, CPU, "bf16")
    held = torch.bfloat16 if can_pack(torch.bfloat16) else torch.float32
    assert {layer.weight.dtype for layer in fast.modules() if isinstance(layer, PackedLinear)} == {held}
    chunk = torch.randn(1, 40_000) * 0.1
    with arithmetic("32", CPU):
        exact = tower(chunk)
    with arithmetic("bf16", CPU):
        found = fast(chunk).float()
    assert ((found - exact).norm() / exact.norm()).item() < 0.05


def test_bf16_computes_what_pytorch_does(tower):
    chunk = torch.randn(1, 12_000) * 0.1
    with arithmetic("bf16", CPU):
        found, plain = (part(chunk).float() for part in (prepare(tower, CPU, "bf16"), tower))
    with arithmetic("32", CPU):
        exact = tower(chunk)
    # Folded weights are rounded once more, and a sum in another order may round to the neighbour.
    assert (found - exact).norm() < 1.2 * (plain - exact).norm()


DIGEST_OF_FRAMES = """
import hashlib, sys, torch
from random_towers import small_tower
from cmi_bench.models.batching import arithmetic
from cmi_bench.models.kernels.prepare import prepare

torch.set_num_threads(int(sys.argv[2]))
tower = small_tower()
tower.load_state_dict(torch.load(sys.argv[1]))
chunk = torch.randn(1, 240_000, generator=torch.Generator().manual_seed(0)) * 0.1
with arithmetic("32", torch.device("cpu")):
    frames = prepare(tower, torch.device("cpu"), "32")(chunk)
print(hashlib.sha256(frames.numpy().tobytes()).hexdigest())
"""


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
def test_processes_compute_the_same_bits(tower, tmp_path, threads):
    torch.save(tower.state_dict(), weights := tmp_path / "tower.pt")
    command = [sys.executable, "-c", DIGEST_OF_FRAMES, str(weights), str(threads)]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    found = {subprocess.run(command, env=env, check=True, stdout=subprocess.PIPE).stdout for _ in range(3)}
    assert len(found) == 1


def test_the_loaded_network_stays_as_it_is(tower):
    before = {name: tensor.clone() for name, tensor in tower.state_dict().items()}
    kinds = [type(part) for part in tower.modules()]
    fast = prepare(tower, CPU, "bf16")
    assert [type(part) for part in tower.modules()] == kinds
    for name, tensor in tower.state_dict().items():
        torch.testing.assert_close(tensor, before[name], atol=0.0, rtol=0.0)
    assert not any(isinstance(part, FrozenBatchNorm) for part in fast.modules())


@pytest.mark.skipif(sys.platform != "linux", reason="pages are given back on Linux")
def test_what_was_packed_leaves_the_file_alone(tmp_path):
    linear, file = nn.Linear(1024, 1024), tmp_path / "weights.safetensors"
    save_file(linear.state_dict(), file)
    linear.load_state_dict(load_file(file), assign=True)
    x = torch.randn(2, 1024)
    expected = linear(x)
    read = resident_bytes(file)
    found = prepare(linear, CPU, "32")(x)
    assert read > 4 * 1024**2 > 10 * resident_bytes(file)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(linear(x), expected)


def test_off_computes_with_the_plain_modules(tower):
    plain = prepare(tower, CPU, "32", "off")
    assert [type(part) for part in plain.modules()] == [type(part) for part in tower.modules()]
    chunk = torch.randn(1, 40_000) * 0.1
    with arithmetic("32", CPU):
        torch.testing.assert_close(plain(chunk), tower(chunk), atol=0.0, rtol=0.0)


def test_there_are_two_settings():
    with pytest.raises(UserError, match="There is no kernels=of"):
        checked_kernels("of")
