"""Encoders on a GPU: the CPU's scores, whatever the batch; memory that ends; processes side by side.

`CMI_BENCH_GPU_TESTS=cpu` runs on the CPU those that ask for the fixture `device`.
"""

import gc
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.fabric.accelerators.cuda import _clear_cuda_memory
from parity_rows import write_parity_rows
from quick_runs import cmi_rm_words, read_scores
from tiny_clap import save_laion_clap
from torch.nn.functional import conv2d

from cmi_bench.errors import UserError
from cmi_bench.models.base import BenchmarkBatchInput
from cmi_bench.models.batching import LEAST_CAPABILITY, arithmetic
from cmi_bench.models.clap import Clap
from cmi_bench.models.cmi_rm import CmiRM
from cmi_bench.models.device_rate import best_rate
from cmi_bench.models.encoding import encode_ahead
from cmi_bench.models.memory import BatchFit, is_out_of_memory
from cmi_bench.models.muq_mulan import MuQMuLan
from cmi_bench.models.songeval import SongEvalRM
from cmi_bench.models.static_batches import WARM_UPS, GraphRecorder
from cmi_bench.models.transfers import CudaTransfers, fetch, moment_on
from cmi_bench.scoring.embedding_cache import EmbeddingCache
from cmi_bench.scoring.embedding_writer import EmbeddingWriter
from cmi_bench.scoring.run_stats import RunStats
from cmi_bench.utils.distributed import resolve_devices
from cmi_bench.utils.files import content_key

pytestmark = pytest.mark.gpu

PROJECT = Path(__file__).parents[2]
BUNDLE = PROJECT / "tests/data/parity/cmi_rm"
CHUNK = 30 * 24_000
CUDA = torch.device("cuda", 0)

MODELS = {
    "cmi_rm": lambda _, **more: CmiRM(str(BUNDLE / "sa_mean"), **more),
    "cmi_rm ca": lambda _, **more: CmiRM(str(BUNDLE / "ca_glu"), **more),
    "songeval": lambda _, **more: SongEvalRM(str(BUNDLE / "songeval"), str(BUNDLE / "muq"), 1, "musicality", **more),
    "muq_mulan": lambda _, **more: MuQMuLan(str(BUNDLE / "muq-mulan"), **more),
    "clap": lambda folder, **more: Clap(str(save_laion_clap(folder)), **more),
}
TEXTS = ["slow ambient drone", "deep house groove", "", "a cheerful pop song with bright piano"]
FLOAT32 = 1e-4
"""Largest difference from the CPU's float32, in standard deviations of the scores."""
LESS = {"tf32": 0.02, "bf16": 0.1}


def songs(*seconds):
    generator = torch.Generator().manual_seed(0)
    return [0.05 * (n + 1) * torch.randn(int(24_000 * length), generator=generator) for n, length in enumerate(seconds)]


def score(model, waveforms, batch_size=8):
    inputs = [
        BenchmarkBatchInput(waveform, TEXTS[n % len(TEXTS)], "la la", waveforms[0][:30_000] if n % 2 else None)
        for n, waveform in enumerate(waveforms)
    ]
    scores = model.score_batch(inputs, batch_size, 120.0)
    return scores[:, ~np.isnan(scores).all(axis=0)]


def allocated():
    """Return the bytes in use, without those that only wait for a stream to have come past them."""
    gc.collect()
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    return torch.cuda.memory_allocated(CUDA)


def difference(found, wanted):
    return float((np.abs(found - wanted).max(axis=0) / wanted.std(axis=0)).max())


@pytest.mark.parametrize("name", MODELS)
def test_float32_scores_are_the_cpus(name, device, tmp_path):
    waveforms = songs(1, 2.5, 1, 31, 4)
    found = score(MODELS[name](tmp_path, device=device), waveforms)
    assert difference(found, score(MODELS[name](tmp_path), waveforms)) < FLOAT32


@pytest.mark.parametrize("precision", LESS)
# Of the random CLAP's scores the differences are as small as bfloat16's.
@pytest.mark.parametrize("name", [name for name in MODELS if name != "clap"])
def test_less_exact_scores_are_near_the_cpus(name, precision, device, tmp_path):
    if precision == "tf32" and device.type == "cpu":
        pytest.skip("the CPU has no TensorFloat-32")
    waveforms = songs(1, 2.5, 1, 31, 4)
    found = score(MODELS[name](tmp_path, device=device, precision=precision), waveforms)
    assert difference(found, score(MODELS[name](tmp_path), waveforms)) < LESS[precision]


@pytest.mark.parametrize(("precision", "apart"), [("32", FLOAT32), ("bf16", 1e-3)])
def test_scores_do_not_depend_on_their_batch(precision, apart, device):
    model, waveforms = CmiRM(str(BUNDLE / "sa_mean"), device=device, precision=precision), songs(1, 1, 2, 1, 30, 30)
    together = score(model, waveforms)
    assert difference(score(model, waveforms, batch_size=1), together) < apart
    assert (score(model, waveforms) == together).all()  # to the bit


@pytest.mark.parametrize("asked", ["none", "tf32"])
def test_precisions_are_what_they_are_called(asked):
    """Errors are 1e-6 of the norm in float32, 3e-4 in TensorFloat-32, whatever a program has asked for by itself."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(512, 512, generator=generator).to(CUDA) for _ in range(2))
    image, filters = torch.randn(1, 64, 64, 64, generator=generator), torch.randn(64, 64, 3, 3, generator=generator)
    image, filters = image.to(CUDA), filters.to(CUDA)
    kinds = {
        "product": (lambda: a @ b, a.double() @ b.double()),
        "convolution": (lambda: conv2d(image, filters), conv2d(image.double(), filters.double())),
    }
    before, torch.backends.fp32_precision = torch.backends.fp32_precision, asked
    try:
        for compute, exact in kinds.values():
            errors = {}
            for precision in ("32", "tf32"):
                with arithmetic(precision, CUDA):
                    errors[precision] = float((compute().double() - exact).norm() / exact.norm())
            assert errors["32"] < 2e-6
            if torch.cuda.get_device_capability(CUDA) >= LEAST_CAPABILITY:
                assert 1e-5 < errors["tf32"] < 1e-3
    finally:
        torch.backends.fp32_precision = before


@pytest.mark.slow
def test_compiled_frames_are_the_plain_ones_in_any_batch():
    plain = CmiRM(str(BUNDLE / "sa_mean"), device=CUDA)
    compiled = CmiRM(str(BUNDLE / "sa_mean"), device=CUDA, compile=True)
    chunks = songs(*[30] * 8, 7)
    parts = (chunks, chunks[2:5], chunks[:1], chunks[3:])
    kept = [(compiled.encode_audio(some), plain.encode_audio(some)) for some in parts]
    for found, wanted in kept:  # a later replay has left earlier results alone
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-3)
    again = compiled.encode_audio(chunks)
    assert all(torch.equal(one, other) for one, other in zip(again, kept[0][0], strict=True))


def test_results_and_batches_go_through_pinned_memory():
    transfers = CudaTransfers(CUDA)
    rows = songs(1, 1, 1)
    there = transfers.upload(rows)
    assert there.device == CUDA
    copies = fetch([2 * there, torch.ones(3)])()
    assert copies[0].is_pinned()
    torch.testing.assert_close(copies[0], 2 * torch.stack(rows), atol=0.0, rtol=0.0)
    assert torch.equal(transfers.upload(list(there)), there)


def long_work(result):
    """Return a tensor once much else is computed; the program does not wait for that."""
    work = torch.randn(4096, 4096, device=CUDA)
    for _ in range(50):
        work = work @ work / 4096
    return result + 0 * work.sum().nan_to_num(0.0, 0.0, 0.0)


def test_what_is_on_its_way_is_not_written_over():
    """Many batches, far longer to compute than to copy: the pinned memory of one is not the next one's too soon."""
    transfers, fit = CudaTransfers(CUDA), BatchFit("test", CUDA, first=2 * CHUNK)
    given = [torch.full((CHUNK,), float(n)) for n in range(24)]

    def encode(batch):
        return long_work(batch.mean(dim=1, keepdim=True))

    made = fetch(encode_ahead(given, encode, transfers, batch_size=2, fit=fit))()
    assert [float(one) for one in made] == list(range(24))


def test_what_leaves_is_not_written_over():
    """Memory that the program is done with may be used again when it has been copied, not before."""
    kept = []
    for number in range(8):
        result = long_work(torch.full((1 << 24,), float(number), device=CUDA))
        kept.append(fetch([result]))
        del result
        torch.full((1 << 24,), -1.0, device=CUDA)  # gets that memory, if it is free
    for number, arrive in enumerate(kept):
        (found,) = arrive()
        assert float(found.min()) == float(found.max()) == number


@pytest.mark.slow
def test_threads_share_a_compiled_tower():
    """Each on a stream of its own, at once: no one's input is written over."""
    compiled = CmiRM(str(BUNDLE / "sa_mean"), device=CUDA, compile=True)
    chunks = songs(*[30] * 4)
    wanted = compiled.encode_audio(chunks)

    def encode(number):
        with torch.cuda.stream(torch.cuda.Stream(CUDA)):
            found = [compiled.encode_audio(chunks[number:][:2]) for _ in range(10)]
            torch.cuda.current_stream().synchronize()
        return found

    with ThreadPoolExecutor(3) as pool:
        for number, rounds in enumerate(pool.map(encode, range(3))):
            for found in rounds:
                torch.testing.assert_close(found, wanted[number:][:2], atol=1e-4, rtol=1e-3)


@pytest.mark.slow
def test_graphs_keep_the_memory_that_they_work_in():
    """What Lightning gives back around each of its loops, and a recording that failed, is none of theirs."""
    compiled = CmiRM(str(BUNDLE / "sa_mean"), device=CUDA, compile=True, precision="bf16")
    chunks = songs(*[30] * 8)
    wanted = compiled.encode_audio(chunks)
    recorder, calls = GraphRecorder(CUDA), []
    square = torch.randn(2048, 2048, device=CUDA)
    products = recorder(lambda x: x @ x @ x, square)
    found = products(square)

    def fail(x):
        calls.append(x)
        if len(calls) > WARM_UPS:
            raise ValueError
        return x @ x

    with pytest.raises(ValueError):
        recorder(fail, square)
    gc.collect()
    for _ in range(3):
        _clear_cuda_memory()
        others = [torch.full((1 << 22,), float("nan"), device=CUDA) for _ in range(64)]
        del others
        assert torch.equal(products(square), found)
        assert all(map(torch.equal, compiled.encode_audio(chunks), wanted))


ON_THE_SECOND = """
import sys, torch
from cmi_bench.models.cmi_rm import CmiRM
from cmi_bench.models.static_batches import WARM_UPS, GraphRecorder
from cmi_bench.models.transfers import fetch, moment_on

second = torch.device("cuda:1")
for precision in ("32", "bf16"):
    start = moment_on(second)
    frames = CmiRM(sys.argv[1], device="cuda:1", precision=precision).encode_audio([torch.ones(24_000)] * 3)
    fetch(frames)()
    start.seconds_to(moment_on(second))
assert torch.cuda.memory_reserved(1)
assert not torch._C._cuda_hasPrimaryContext(0), "memory of cuda:0 was taken"
"""


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_the_first_gpu_is_left_alone():
    """A process that computes on another one takes none of its memory, which may be full."""
    subprocess.run([sys.executable, "-c", ON_THE_SECOND, str(BUNDLE / "sa_mean")], check=True, timeout=300)


def test_memory_that_ends_while_a_graph_is_recorded():
    """The error is known as that, and the next graph is recorded."""
    recorder, calls = GraphRecorder(CUDA), []

    def compute(x):
        calls.append(x)
        if len(calls) == 1 + WARM_UPS:
            torch.empty(1 << 44, device=CUDA)
        return 2 * x

    example = torch.ones(2, 3, device=CUDA)
    with pytest.raises(RuntimeError) as caught:
        recorder(compute, example)
    assert is_out_of_memory(caught.value)
    assert torch.cuda.current_stream(CUDA) == torch.cuda.default_stream(CUDA)
    assert recorder(compute, example)(3 * example).tolist() == [[6.0] * 3] * 2


def test_memory_that_ends_halves_batches_for_the_rest_of_the_run(tmp_path):
    model = CmiRM(str(BUNDLE / "sa_mean"), device=CUDA)
    chunks = songs(*[30] * 8)
    wanted = model.encode_audio(chunks)
    peaks = []
    for count in (1, 8):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(CUDA)
        model.encode_audio(chunks[:count])
        peaks.append(torch.cuda.max_memory_reserved(CUDA))
    assert peaks[1] > 1.5 * peaks[0], "eight chunks must take more memory than one, or nothing is tested"
    total = torch.cuda.get_device_properties(CUDA).total_memory
    model.digest_dir = tmp_path
    model.to(CUDA)
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction((0.6 * peaks[0] + 0.4 * peaks[1]) / total, CUDA)
    try:
        found = model.encode_audio(chunks)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, CUDA)
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-3)
    assert model.fit.most < 8 * CHUNK
    after = CmiRM(str(BUNDLE / "sa_mean"), device=CUDA)
    after.digest_dir = tmp_path
    after.encode_audio(chunks[:1])
    assert after.fit.most == model.fit.most


def test_nothing_stays_on_the_device():
    def use():
        score(CmiRM(str(BUNDLE / "sa_mean"), device=CUDA), songs(1, 2))

    use()  # what the libraries keep for themselves
    before = allocated()
    use()
    assert allocated() == before


def test_a_gpu_that_is_not_there_is_a_message():
    with pytest.raises(UserError, match=r"Asked for cuda:99; this machine has cuda:0 \(") as caught:
        resolve_devices("gpu", [99])
    assert "Use one of those" in caught.value.hint


def command(folder, root, cache, *words):
    words = [*cmi_rm_words(root, cache, BUNDLE / "sa_mean"), "workers=2", *words]
    return [sys.executable, str(PROJECT / "run.py"), f"hydra.run.dir={folder}", *words]


ONE_GPU = {**os.environ, "CUDA_VISIBLE_DEVICES": "0"}


def test_embeddings_are_stored_while_the_next_are_computed(tmp_path):
    cache, stats = EmbeddingCache(tmp_path), RunStats()
    writer = EmbeddingWriter(cache, stats)
    keys = [content_key(batch=number) for number in range(4)]
    for number, key in enumerate(keys):
        writer.check()
        writer.store({key: [torch.full((750, 768), float(number), device=CUDA) @ torch.eye(768, device=CUDA)]})
    writer.wait()
    writer.close()
    assert [float(cache.get(key)[0].mean()) for key in keys] == [0.0, 1.0, 2.0, 3.0]
    assert stats.counts["bytes_stored"] == cache.size().bytes


def test_a_gpus_own_time_is_measured():
    x = torch.randn(4096, 4096, device=CUDA)
    with arithmetic("32", CUDA):
        x @ x
        start = moment_on(CUDA)
        for _ in range(20):
            x @ x
        taken = start.seconds_to(moment_on(CUDA))
    assert 0.1 < 20 * 2 * 4096**3 / taken / 1e9 / best_rate(CUDA, "32") < 1.5


@pytest.mark.slow
def test_all_gpus_of_a_machine_with_one_give_the_cpus_scores(tmp_path):
    write_parity_rows(tmp_path / "root")
    for device, strategy in (("cuda", "ddp"), ("cpu", "auto")):
        words = (f"+device={device}", f"trainer.strategy={strategy}")
        line = command(tmp_path / device, tmp_path / "root", tmp_path / f"cache {device}", *words)
        subprocess.run(line, check=True, env=ONE_GPU, timeout=300)
    found, wanted = (np.array(read_scores(tmp_path / device)) for device in ("cuda", "cpu"))
    assert np.abs(found - wanted).max() < FLOAT32 * wanted.std()
    facts = json.loads((tmp_path / "cuda/metadata.json").read_text())
    assert facts["model"]["kernels"] == "on"
    assert facts["model"]["batch_seconds"] > 0


@pytest.mark.slow
def test_two_processes_on_one_gpu(tmp_path):
    write_parity_rows(tmp_path / "root")
    folders = [tmp_path / "one", tmp_path / "two"]
    running = [
        subprocess.Popen(command(folder, tmp_path / "root", f"{folder}_cache", "+device=cuda:0"), env=ONE_GPU)
        for folder in folders
    ]
    assert [process.wait(timeout=300) for process in running] == [0, 0]
    one, two = (np.array(read_scores(folder)) for folder in folders)
    assert np.abs(one - two).max() < FLOAT32 * one.std()


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["32", "bf16"])
def test_a_head_is_trained_there(precision, device, tmp_path, mini_root, mini_train_root):
    """Its scores are the CPU's, by whichever device it was trained."""
    (tmp_path / "data").mkdir()
    for root in (mini_root, mini_train_root):
        (tmp_path / "data" / root.name).symlink_to(root)
    data = ["data=mini", f"data_root={tmp_path}/data", f"cache.dir={tmp_path}/cache", "tracking=none"]
    steps = ["recipe=small", "train.max_steps=20", f"train.precision={precision}", "metrics.report=false"]
    run_py("train", tmp_path, "task=train", "model=audio_statistics", *steps, *data, f"+device={device}")
    trained = [f"model.checkpoint={tmp_path}/train/checkpoints/step_000020", "metrics.report=false", "resume=false"]
    for name, where in (("there", device), ("cpu", "cpu")):
        run_py(name, tmp_path, *trained, *data, "subset=cmi_pref", "limit=8", f"+device={where}")
    found, wanted = (np.array(read_scores(tmp_path / name)) for name in ("there", "cpu"))
    assert np.isfinite(wanted).all()
    assert np.abs(found - wanted).max() < FLOAT32 * wanted.std()


def run_py(name, folder, *words):
    line = [sys.executable, str(PROJECT / "run.py"), f"hydra.run.dir={folder / name}", *words]
    subprocess.run(line, check=True, env=ONE_GPU, timeout=300)
