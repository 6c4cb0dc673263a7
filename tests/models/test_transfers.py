"""Copies to a GPU and back: in which order its streams are told what, recorded on the CPU."""

from contextlib import nullcontext

import pytest
import torch
from recorded_device import recorded_cuda

from cmi_bench.models.transfers import CudaTransfers, fetch, moment_on

CUDA = torch.device("cuda:0")


@pytest.fixture
def cuda(monkeypatch):
    with recorded_cuda(monkeypatch) as calls:
        yield CudaTransfers(CUDA), calls


def test_a_batch_goes_through_pinned_memory_beside_what_is_computed(cuda):
    transfers, calls = cuda
    there = transfers.upload([torch.arange(3.0), torch.arange(3.0) + 1])
    assert there.tolist() == [[0, 1, 2], [1, 2, 3]]
    assert calls == ["pinned memory", "copy on inward", "computing waits for inward", "kept for computing"]


def test_results_leave_when_they_are_computed(monkeypatch, cuda):
    transfers, calls = cuda
    made = torch.arange(3.0)
    monkeypatch.setattr(torch.Tensor, "device", CUDA)
    wait = transfers.fetch([made])
    assert calls == ["outward waits for computing", "copy on outward", "kept for outward", "event on outward"]
    (found,) = wait()
    assert calls[-1] == "wait for event"
    assert found.tolist() == [0, 1, 2]


def test_a_mark_is_where_the_computing_is(cuda):
    transfers, calls = cuda
    transfers.record_event().synchronize()
    assert calls == ["event on computing", "wait for event"]


def test_what_is_on_the_cpu_is_there_already():
    made = torch.arange(3.0)
    (found,) = fetch([made])()
    assert found.data_ptr() == made.data_ptr()


def test_a_gpus_time_is_read_when_it_has_come_there(monkeypatch):
    class Event:
        """Passes 1.5 s after the one before, once it is waited for."""

        made = 0

        def __init__(self, **options):
            assert options["enable_timing"]
            Event.made += 1
            self.number, self.is_over = Event.made, False

        def record(self, stream):
            assert stream == "computing"

        def synchronize(self):
            self.is_over = True

        def elapsed_time(self, later):
            assert later.is_over
            return 1500.0 * (later.number - self.number)

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: "computing")
    monkeypatch.setattr(torch.cuda, "device", nullcontext)
    assert moment_on(CUDA).seconds_to(moment_on(CUDA)) == 1.5


def test_the_cpus_time_is_now():
    start = moment_on(torch.device("cpu"))
    assert 0 <= start.seconds_to(moment_on(torch.device("cpu"))) < 60
