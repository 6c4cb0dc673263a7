"""What fits into a device's memory: found by doubling, halved where it ends, kept from run to run."""

import logging

import pytest
import torch

from cmi_bench.models.memory import BatchFit, is_out_of_memory

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        MemoryError(),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("cuFFT error: CUFFT_ALLOC_FAILED"),
        RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
        RuntimeError("GET was unable to find an engine to execute this computation"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_libraries_words_for_too_little_memory(error):
    assert is_out_of_memory(error)


def test_other_errors_are_none_of_it():
    assert not is_out_of_memory(RuntimeError("CUDA error: device-side assert triggered"))
    assert not is_out_of_memory(ValueError("out of memory"))


def test_what_an_error_came_of_counts():
    """As a graph whose recording ends early complains about that."""
    with pytest.raises(RuntimeError) as caught:
        try:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        finally:
            raise RuntimeError("CUDA error: operation failed due to a previous error during capture")
    assert is_out_of_memory(caught.value)


def offer(fit, length, count, seconds_of):
    """Give batches as an encoder does: as many pieces as fit, a few times over; returns the largest batch."""
    largest = 0
    for _ in range(12):
        pieces = fit.count(length, count)
        fit.took(pieces * length, seconds_of(pieces))
        largest = max(largest, pieces)
    return largest


def test_doubles_while_that_is_faster():
    fit = BatchFit("encoder", CPU, first=80)
    # 16 pieces take as long as 8, 32 twice as long as 16.
    assert offer(fit, 10, 64, lambda pieces: max(pieces, 16) / 16) == 32
    assert fit.most == 160
    assert fit.largest == 320


def test_is_no_larger_than_what_is_offered():
    fit = BatchFit("encoder", CPU, first=80)
    assert offer(fit, 10, 8, lambda pieces: 1.0) == 8
    assert not fit.is_trial(80)


def test_halves_for_good(caplog):
    fit = BatchFit("encoder", CPU, first=80)
    with caplog.at_level(logging.WARNING):
        fit.too_large(80)
    assert "80 samples together did not fit" in caplog.text
    assert offer(fit, 10, 64, lambda pieces: 1.0) == 4


def test_one_piece_is_always_tried():
    assert BatchFit("encoder", CPU, first=80).count(1000, 8) == 1


def test_the_next_run_begins_with_what_was_found(tmp_path):
    first = BatchFit("encoder", CPU, first=80)
    first.keep_in(tmp_path / "new folder")
    first.too_large(80)
    first.took(40, 1.0)
    second = BatchFit("encoder", CPU, first=80)
    second.keep_in(tmp_path / "new folder")
    assert second.most == 40
    assert not second.is_trial(40)
    other = BatchFit("another encoder", CPU, first=80)
    other.keep_in(tmp_path / "new folder")
    assert other.most == 80


def test_what_may_be_another_failure_is_not_kept(tmp_path):
    """Of a batch that failed nothing is kept until a smaller one did not."""
    first = BatchFit("encoder", CPU, first=80)
    first.keep_in(tmp_path)
    first.too_large(80)
    first.too_large(40)
    assert not list(tmp_path.iterdir())
    first.took(20, 1.0)
    second = BatchFit("encoder", CPU, first=80)
    second.keep_in(tmp_path)
    assert second.most == 20


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"samples": null}', "\0"])
def test_what_is_damaged_is_found_again(tmp_path, content):
    first = BatchFit("encoder", CPU, first=80)
    first.keep_in(tmp_path)
    first.too_large(80)
    first.took(40, 1.0)
    (file,) = tmp_path.iterdir()
    file.write_text(content)
    second = BatchFit("encoder", CPU, first=80)
    second.keep_in(tmp_path)
    assert second.most == 80


def test_a_folder_that_cannot_be_written_costs_a_warning(tmp_path, caplog):
    (tmp_path / "file").touch()
    fit = BatchFit("encoder", CPU, first=80)
    fit.keep_in(tmp_path / "file")
    with caplog.at_level(logging.WARNING):
        fit.too_large(80)
        fit.took(40, 1.0)
    assert "is not kept" in caplog.text
    assert fit.most == 40
