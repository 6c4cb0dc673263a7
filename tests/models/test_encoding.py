"""Waveforms through an encoder, as a GPU is handed them."""

import pytest
import torch
from recorded_device import RecordedTransfers

from cmi_bench.models.encoding import AHEAD, encode_ahead
from cmi_bench.models.memory import BatchFit


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
