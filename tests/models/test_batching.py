"""Batches, and arithmetic: float32 means float32, and bfloat16 stays in the audio encoder."""

import logging
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_clap import save_laion_clap

from cmi_bench.errors import UserError
from cmi_bench.models import batching
from cmi_bench.models.base import EmbeddedInput
from cmi_bench.models.batching import (
    arithmetic,
    batches_of,
    check_device,
    equal_batches_of,
    exact,
    near_batches_of,
    pad,
)
from cmi_bench.models.clap import Clap
from cmi_bench.models.cmi_rm import CmiRM
from cmi_bench.models.muq_mulan import MuQMuLan
from cmi_bench.models.songeval import SongEvalRM

BUNDLE = Path(__file__).parents[1] / "data" / "parity" / "cmi_rm"

CPU = torch.device("cpu")


@pytest.fixture
def tf32():
    """A program that asked for TensorFloat-32."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    yield
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]


def test_no_tf32_in_float32(tf32):
    with pytest.raises(RuntimeError, match="inside"), arithmetic("32", CPU):
        assert torch.get_float32_matmul_precision() == "highest"
        assert not torch.backends.cudnn.allow_tf32
        assert torch.is_inference_mode_enabled()
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
        raise RuntimeError("inside")
    assert torch.get_float32_matmul_precision() == "high"
    assert torch.backends.cudnn.allow_tf32


def test_tf32_where_it_is_asked_for():
    with arithmetic("tf32", torch.device("cuda")):
        assert torch.get_float32_matmul_precision() == "high"
        assert torch.backends.cudnn.allow_tf32
        with exact(CPU):
            assert torch.get_float32_matmul_precision() == "highest"
            assert not torch.backends.cudnn.allow_tf32
        assert torch.backends.cudnn.allow_tf32


def test_float32_is_float32_while_another_thread_leaves_it(tf32):
    """A thread that began earlier, and ends earlier, does not switch TensorFloat-32 on under another one's hands."""
    first, second = arithmetic("32", CPU), arithmetic("32", CPU)
    first.__enter__()
    thread = threading.Thread(target=second.__enter__)
    thread.start()
    thread.join()
    first.__exit__(None, None, None)
    assert not torch.backends.cudnn.allow_tf32
    thread = threading.Thread(target=second.__exit__, args=(None, None, None))
    thread.start()
    thread.join()
    assert torch.backends.cudnn.allow_tf32


BACKENDS = torch.backends
NEW_WAY = {
    "all": (BACKENDS, "tf32"),
    "products": (BACKENDS.cuda.matmul, "tf32"),
    "convolutions": (BACKENDS.cudnn.conv, "ieee"),
    "the cpu's": (BACKENDS.mkldnn.matmul, "bf16"),
}
OPERATIONS = [
    *(BACKENDS.cuda.matmul, BACKENDS.cudnn.conv, BACKENDS.cudnn.rnn),
    *(BACKENDS.mkldnn.matmul, BACKENDS.mkldnn.conv, BACKENDS.mkldnn.rnn),
]


def precisions():
    return [one.fp32_precision for one in OPERATIONS]


@pytest.fixture(params=NEW_WAY)
def new_way(request):
    """A program that asked for something by PyTorch's newer settings, after which the older ones may not be read."""
    before, (one, precision) = [(one, one.fp32_precision) for one in (*OPERATIONS, BACKENDS)], NEW_WAY[request.param]
    one.fp32_precision = precision
    yield
    for one, precision in before:
        one.fp32_precision = precision


def test_whatever_a_program_has_set_by_the_newer_settings(new_way):
    before = precisions()
    with arithmetic("32", CPU):
        assert precisions() == ["ieee"] * 6
        assert torch.get_float32_matmul_precision() == "highest"  # and the older ones agree
        assert not BACKENDS.cudnn.allow_tf32
        assert not BACKENDS.cuda.matmul.allow_tf32
    with arithmetic("tf32", torch.device("cuda")):
        assert precisions() == ["tf32"] * 3 + ["ieee"] * 3
        assert torch.get_float32_matmul_precision() == "high"
        assert BACKENDS.cudnn.allow_tf32
    assert precisions() == before


def test_no_kernel_is_chosen_by_timing_and_sums_are_float32():
    products = BACKENDS.cuda.matmul
    BACKENDS.cudnn.benchmark = True
    try:
        with arithmetic("bf16", CPU):
            assert not BACKENDS.cudnn.benchmark
            assert not products.allow_bf16_reduced_precision_reduction
        assert BACKENDS.cudnn.benchmark
        assert products.allow_bf16_reduced_precision_reduction
    finally:
        BACKENDS.cudnn.benchmark = False


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_an_old_gpu_has_float32_only(monkeypatch, precision):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla T4")
    with pytest.raises(UserError, match=rf"precision={precision} needs a GPU .* Tesla T4 has 7\.5") as caught:
        check_device(precision, torch.device("cuda:0"))
    assert "precision=32" in caught.value.hint
    check_device("32", torch.device("cuda:0"))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    check_device(precision, torch.device("cuda:0"))


def test_the_cpu_has_no_tf32():
    with pytest.raises(UserError, match="precision=tf32 needs a GPU") as caught:
        CmiRM(str(BUNDLE / "sa_mean"), precision="tf32")
    assert "precision=32" in caught.value.hint


def test_bf16():
    with arithmetic("bf16", CPU):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16


def test_a_part_in_float32_within_bf16():
    with arithmetic("bf16", CPU):
        with exact(CPU):
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16


MODELS = {
    "cmi_rm": lambda _, **more: CmiRM(str(BUNDLE / "sa_mean"), **more),
    "songeval": lambda _, **more: SongEvalRM(str(BUNDLE / "songeval"), str(BUNDLE / "muq"), 1, "musicality", **more),
    "muq_mulan": lambda _, **more: MuQMuLan(str(BUNDLE / "muq-mulan"), **more),
    "clap": lambda folder, **more: Clap(str(save_laion_clap(folder)), **more),
}
TEXTS = ["slow ambient drone", "deep house groove", "", "a cheerful pop song with bright piano"]


@pytest.mark.parametrize("name", ["cmi_rm", "songeval", "muq_mulan", pytest.param("clap", marks=pytest.mark.slow)])
def test_bf16_scores_lie_on_no_grid_and_do_not_depend_on_their_batch(name, tmp_path):
    """Batch independence to 1e-3 standard deviations, as docs/speed.md has it."""
    model = MODELS[name](tmp_path, precision="bf16")
    generator = torch.Generator().manual_seed(0)
    waveforms = [0.1 * (n + 1) * torch.randn(6000, generator=generator) for n in range(len(TEXTS))]

    def scores(batches):
        windows = [one for batch in batches for one in model.embed_audio(batch, 10.0, is_reference=False)]
        texts = model.embed_texts(TEXTS)
        clips = [EmbeddedInput(one, text, texts[2], None) for one, text in zip(windows, texts, strict=True)]
        return np.concatenate([model.score_embedded(clips[i : i + len(batches[0])])
                               for i in range(0, len(clips), len(batches[0]))])  # fmt: skip

    alone, together = scores([[one] for one in waveforms]), scores([waveforms])
    judged = ~np.isnan(alone).all(axis=0)
    assert judged.any()
    alone, together = alone[:, judged], together[:, judged]
    assert (np.abs(alone - together).max(axis=0) <= 1e-3 * alone.std(axis=0)).all()
    assert (torch.from_numpy(alone).bfloat16().float().numpy() != alone).all()


@pytest.mark.parametrize("name", ["cmi_rm", "muq_mulan", "clap"])
def test_texts_are_float32_in_either_precision(name, tmp_path):
    exact_model, fast = MODELS[name](tmp_path), MODELS[name](tmp_path, precision="bf16")
    for one, other in zip(exact_model.embed_texts(TEXTS), fast.embed_texts(TEXTS), strict=True):
        torch.testing.assert_close(one, other, atol=0, rtol=0)
    assert exact_model.text_identity == fast.text_identity
    assert exact_model.audio_identity != fast.audio_identity
    assert exact_model.identity != fast.identity


def test_float32_whatever_the_caller_casts_to():
    with torch.autocast("cpu", torch.bfloat16), arithmetic("32", CPU):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


@pytest.mark.parametrize(("capability", "warned"), [("AVX2", True), ("AVX512", False)])
def test_slow_bf16_is_warned_of(monkeypatch, caplog, capability, warned):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    with caplog.at_level(logging.WARNING, batching.__name__):
        check_device("bf16", CPU, key="train.precision")
        check_device("32", CPU)
    assert ("train.precision=32 is faster" in caplog.text) == warned


def test_pad_marks_what_is_valid():
    padded = pad([torch.ones(2, 3), torch.ones(0, 3), torch.ones(1, 3)])
    assert padded.valid.tolist() == [[True, True], [False, False], [True, False]]
    assert padded.values.sum(dim=(1, 2)).tolist() == [6.0, 0.0, 3.0]


def test_pad_of_equals_needs_no_mask():
    assert pad([torch.ones(2, 3), torch.ones(2, 3)]).valid is None


def test_every_index_once():
    lengths = [3, 1, 3, 2, 3, 2]
    assert list(batches_of(lengths, 4)) == [[0, 2, 4, 3], [5, 1]]
    assert list(equal_batches_of(lengths, 2)) == [[0, 2], [4], [3, 5], [1]]
    assert list(equal_batches_of(lengths, 2, most=5)) == [[0], [2], [4], [3, 5], [1]]
    assert list(batches_of([], 4)) == list(equal_batches_of([], 4)) == []


def test_padding_is_bounded():
    lengths = [(5,), (100,), (98,), (100,), (91,), (80,), (5,)]
    batches = list(near_batches_of(lengths, 3, padding=0.05))
    assert batches == [[1, 3, 2], [4], [5], [0, 6]]
    assert list(near_batches_of(lengths, 7, padding=0.2)) == [[1, 3, 2, 4, 5], [0, 6]]
    assert list(near_batches_of(lengths, 7, padding=0.0)) == [[1, 3], [2], [4], [5], [0, 6]]
    assert list(near_batches_of([(0,), (0,)], 4, padding=0.0)) == [[0, 1]]
    assert list(near_batches_of([], 4, padding=0.1)) == []


def test_padding_of_several_sequences_counts_for_all_of_them():
    lengths = [(10, 5), (10, 90), (10, 5), (10, 89)]
    assert list(near_batches_of(lengths, 4, padding=0.0)) == [[1], [3], [0, 2]]
    assert list(near_batches_of(lengths, 4, padding=0.1)) == [[1, 3], [0, 2]]
    assert list(near_batches_of(lengths, 4, padding=1.0)) == [[1, 3, 0, 2]]
