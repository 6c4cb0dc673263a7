"""Waveforms through an encoder: as a GPU is handed them, and several at once on the CPU, each as if it were alone."""

import threading

import pytest
import torch
from recorded_device import RecordedTransfers
from torch import nn

from cmi_bench.models import encoding
from cmi_bench.models.batching import arithmetic
from cmi_bench.models.encoding import AHEAD, encode_ahead, encode_waveforms, fit_of
from cmi_bench.models.memory import BatchFit
from cmi_bench.models.transfers import CudaTransfers

CPU = torch.device("cpu")
LENGTHS = (4_800, 3_000, 4_800, 4_700, 4_700, 3_000, 1_000)


def doubled(batch):
    return 2 * batch


def waveforms(*lengths):
    return [torch.arange(float(length)) + number for number, length in enumerate(lengths)]


def settled(most):
    fit = BatchFit("encoder", torch.device("cpu"), first=2 * most)
    fit.too_large(2 * most)
    return fit


def test_each_comes_out_by_itself_in_order():
    given = waveforms(5, 3, 5, 4, 5)
    for most in (1, 10, 1000):
        made = encode_ahead(given, doubled, RecordedTransfers(), batch_size=8, fit=settled(most))
        assert [one.tolist() for one in made] == [(2 * one).tolist() for one in given]
    assert encode_ahead([], doubled, RecordedTransfers(), batch_size=8, fit=settled(10)) == []


def test_a_batch_is_handed_over_before_the_one_before_is_done():
    transfers = RecordedTransfers()
    encode_ahead(waveforms(*[5] * 8), doubled, transfers, batch_size=2, fit=settled(1000))
    waits = [call for call in transfers.calls if call[0] == "wait"]
    assert waits == [("wait", 1), ("wait", 2)]
    # The third is handed over when the first is done: two at a time, whatever comes after them.
    assert transfers.calls[:5] == [("upload", 2), ("mark", 1), ("upload", 2), ("mark", 2), ("wait", 1)]
    assert AHEAD == 2


def test_batches_are_timed_one_by_one_until_their_size_is_found():
    transfers = RecordedTransfers()
    encode_ahead(
        waveforms(*[5] * 2), doubled, transfers, batch_size=2, fit=BatchFit("e", torch.device("cpu"), first=10)
    )
    assert transfers.calls == [("upload", 2), ("mark", 1), ("wait", 1)]


def test_what_a_late_gpu_was_given_comes_out(late_gpu):
    """However late it copies and computes, and however soon memory is used again."""
    transfers, given = CudaTransfers(torch.device("cuda")), [torch.full((5,), float(number)) for number in range(12)]

    def encode(batch):
        return [late_gpu.compute(lambda rows, row=row: 2 * rows[row], batch) for row in range(len(batch))]

    arriving = []
    for start in (0, 6):
        made = encode_ahead(given[start:][:6], encode, transfers, batch_size=2, fit=settled(10))
        arriving.append(transfers.fetch(made))
        del made
    found = [one for arrive in arriving for one in arrive()]
    assert [one.tolist() for one in found] == [(2 * one).tolist() for one in given]


def limited_to(rows, tried):
    def encode(batch):
        tried.append(len(batch))
        if len(batch) > rows:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return 2 * batch

    return encode


def test_what_does_not_fit_is_halved_once_for_the_whole_run():
    given, tried, fit = waveforms(*[5] * 8, *[4] * 4), [], BatchFit("e", torch.device("cpu"), first=1000)
    made = encode_ahead(given, limited_to(2, tried), RecordedTransfers(), batch_size=8, fit=fit)
    assert [one.tolist() for one in made] == [(2 * one).tolist() for one in given]
    assert tried == [8, 4, 2, 2, 2, 2, 2, 2]
    encode_ahead(given, limited_to(2, tried), RecordedTransfers(), batch_size=8, fit=fit)
    assert max(tried[8:]) == 2


def test_one_that_never_fits_is_an_error():
    with pytest.raises(torch.OutOfMemoryError):
        encode_ahead(waveforms(5, 5), limited_to(0, []), RecordedTransfers(), batch_size=8, fit=settled(1000))


def test_other_errors_are_the_callers():
    def encode(batch):
        raise RuntimeError("CUDA error: device-side assert triggered")

    with pytest.raises(RuntimeError, match="assert triggered"):
        encode_ahead(waveforms(5, 5), encode, RecordedTransfers(), batch_size=8, fit=settled(1000))


@pytest.fixture
def threads(seeded):
    """Compute on the CPU with two threads, whatever the machine has."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def encoder():
    return nn.Sequential(nn.Conv1d(1, 64, 400, stride=160), nn.GELU(), nn.Conv1d(64, 32, 3))


def encode(encoder, waveforms, batch_size=8):
    return encode_waveforms(
        waveforms,
        lambda batch: encoder(batch[:, None]).float(),
        device=CPU,
        precision="32",
        batch_size=batch_size,
        fit=fit_of(encoder, "32", CPU),
    )


@pytest.mark.usefixtures("threads")
def test_what_comes_of_one_does_not_depend_on_the_others(encoder):
    waveforms = [torch.randn(length) for length in LENGTHS]
    torch.set_num_threads(1)
    alone = [encode(encoder, [waveform])[0] for waveform in waveforms]
    torch.set_num_threads(2)
    for batch_size in (1, 3):
        together = encode(encoder, waveforms, batch_size)
        turned = encode(encoder, waveforms[::-1], batch_size)[::-1]
        for one, with_others, in_another_order in zip(alone, together, turned, strict=True):
            torch.testing.assert_close(with_others, one, atol=1e-6, rtol=0.0)
            torch.testing.assert_close(in_another_order, one, atol=1e-6, rtol=0.0)


@pytest.mark.usefixtures("threads")
def test_nothing_to_encode(encoder):
    assert encode(encoder, []) == []


@pytest.mark.usefixtures("threads")
def test_each_thread_computes_as_the_precision_says(encoder):
    found = []

    def tell(batch):
        found.append(
            (
                threading.current_thread() is threading.main_thread(),
                torch.is_inference_mode_enabled(),
                torch.is_autocast_enabled("cpu"),
                torch.get_float32_matmul_precision(),
                torch.get_num_threads(),
            )
        )
        return batch

    torch.set_float32_matmul_precision("high")
    try:
        for precision in ("32", "bf16"):
            encode_waveforms(
                [torch.zeros(4000)] * 2, tell, device=CPU, precision=precision, batch_size=1,
                fit=fit_of(encoder, precision, CPU),
            )  # fmt: skip
        assert found == [(False, True, False, "highest", 1)] * 2 + [(False, True, True, "highest", 1)] * 2
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize(("free", "at_once"), [(10**12, 2), (0, 1), (4 * encoding.SAMPLE_BYTES * 4000, 2)])
@pytest.mark.usefixtures("threads")
def test_as_many_at_once_as_there_is_memory_for(monkeypatch, encoder, free, at_once):
    monkeypatch.setattr(encoding, "available_memory", lambda: free)
    monkeypatch.setattr(encoding, "cores", lambda: 2)
    found = encode_waveforms(
        [torch.zeros(4000)] * 4,
        lambda batch: torch.full((len(batch), 1), torch.get_num_threads()),
        device=CPU,
        precision="32",
        batch_size=1,
        fit=fit_of(encoder, "32", CPU),
    )
    assert [int(one) for one in found] == [2 // at_once] * 4


def test_what_may_not_fit_into_memory_is_said_before(monkeypatch, caplog, encoder):
    monkeypatch.setattr(encoding, "available_memory", lambda: 4_000_000)
    with caplog.at_level("WARNING"):
        encode(encoder, [torch.zeros(1_000)])
        assert not caplog.messages
        encode(encoder, [torch.zeros(4_000)])
    assert "4000 samples" in caplog.text and "0.0 GB are free" in caplog.text


@pytest.mark.usefixtures("threads")
def test_a_failure_of_one_is_the_callers(encoder):
    with arithmetic("32", CPU), pytest.raises(RuntimeError, match="size"):
        encode(encoder, [torch.randn(48_000), torch.randn(100), torch.randn(48_000)])
    assert torch.get_num_threads() == 2
