"""Batches of fixed shapes: which shapes there are, and that a batch's own rows come out."""

import gc
from contextlib import contextmanager, nullcontext

import pytest
import torch

from cmi_bench.models.static_batches import GraphRecorder, StaticBatches
from cmi_bench.models.transfers import CudaTransfers


class RecordedGraphs:
    """In the place of CUDA graphs: a recorded computation takes inputs of one shape only, in memory of its own."""

    def __init__(self):
        self.shapes = []

    def __call__(self, compute, example):
        self.shapes.append(tuple(example.shape))
        given = example.clone()

        def replay(x):
            given.copy_(x)
            return compute(given).clone()

        return replay


@pytest.fixture
def graphs():
    return RecordedGraphs()


def test_few_shapes_for_any_number_of_rows(graphs):
    network = StaticBatches(lambda x: -x, lambda x: 2 * x, length=5, fixed=graphs)
    generator = torch.Generator().manual_seed(0)
    kept = []
    for count in (8, 3, 1, 7, 2, 4, 8):
        x = torch.randn(count, 5, generator=generator)
        kept.append((network(x), 2 * x))
    for found, wanted in kept:  # what a later batch computes leaves an earlier one's results alone
        torch.testing.assert_close(found, wanted, atol=0.0, rtol=0.0)
    assert graphs.shapes == [(8, 5), (4, 5), (2, 5)]


def test_other_lengths_go_through_the_network_as_it_is(graphs):
    network = StaticBatches(lambda x: -x, lambda x: 2 * x, length=5, fixed=graphs)
    x = torch.ones(3, 4)
    assert network(x).tolist() == (-x).tolist()
    assert graphs.shapes == []


def test_rows_may_have_any_shape(graphs):
    network = StaticBatches(lambda x: -x, lambda x: 2 * x, length=5, fixed=graphs)
    x = torch.ones(3, 7, 5)
    assert network(x).tolist() == (2 * x).tolist()
    assert graphs.shapes == [(4, 7, 5)]


def test_a_graph_is_recorded_once_and_replayed_into_copies(monkeypatch):
    """With records in the place of CUDA's own: a replay does again what was computed while it was recorded."""
    calls, recorded = [], []

    def compute(x):
        calls.append(f"compute on {now[-1].name}")
        recorded.append((x, 2 * x))
        return recorded[-1][1]

    class Event:
        def record(self, stream):
            calls.append(f"event on {stream.name}")

    class Stream:
        def __init__(self, device, name="aside"):
            self.name = name

        def wait_stream(self, other):
            calls.append(f"{self.name} waits for {other.name}")

        def wait_event(self, event):
            calls.append(f"{self.name} waits for the last replay")

    class Graph:
        def replay(self):
            calls.append("replay")
            given, made = recorded[-1]
            made.copy_(2 * given)

    @contextmanager
    def on(stream):
        now.append(stream)
        try:
            yield
        finally:
            now.pop()

    @contextmanager
    def recording(graph, *, pool, stream, capture_error_mode):
        calls.append(f"record {capture_error_mode} on {stream.name}")
        assert not gc.isenabled()
        yield

    now = [Stream(None, "current")]
    for name, fake in (
        *(("stream", on), ("current_stream", lambda device: now[-1]), ("Stream", Stream), ("Event", Event)),
        *(("device", nullcontext), ("CUDAGraph", Graph), ("graph", recording), ("graph_pool_handle", tuple)),
    ):
        monkeypatch.setattr(torch.cuda, name, fake)
    monkeypatch.setattr(torch._C, "_cuda_clearCublasWorkspaces", lambda: calls.append("clear workspaces"))
    network = StaticBatches(compute, compute, length=5, fixed=GraphRecorder(torch.device("cuda")))
    first, second = torch.ones(2, 5), torch.full((2, 5), 3.0)
    found = [network(first), network(second)]
    a_replay = ["current waits for the last replay", "replay", "event on current"]
    assert calls == [
        *("aside waits for current", "compute on aside", "compute on aside"),
        *("clear workspaces", "record thread_local on aside", "compute on aside", "clear workspaces"),
        *("current waits for aside", *a_replay, *a_replay),
    ]
    assert [one.tolist() for one in found] == [(2 * first).tolist(), (2 * second).tolist()]

    def fail(x):
        if not gc.isenabled():  # while it is recorded
            raise torch.OutOfMemoryError("CUDA out of memory.")

    broken = GraphRecorder(torch.device("cuda"))
    for _ in range(2):  # and the next one may try
        with pytest.raises(torch.OutOfMemoryError):
            broken(fail, first)
    assert now[-1].name == "current"
    assert gc.isenabled()


def test_graphs_are_replayed_on_any_stream(late_gpu):
    """Each replay reads and writes the same memory: one waits for the other, and results are no part of it."""
    device = torch.device("cuda")
    recorder, transfers = GraphRecorder(device), CudaTransfers(device)
    streams, arriving, compute = [late_gpu.stream(), late_gpu.stream()], [], {}
    for number in range(6):
        rows = 2 + 2 * (number // 2 % 2)
        with late_gpu.on(streams[number % 2]):
            x = transfers.upload([torch.full((5,), float(number))] * rows)
            if rows not in compute:
                compute[rows] = recorder(lambda x: late_gpu.compute(lambda x: 2 * x, x), x)
            arriving.append(transfers.fetch([compute[rows](x)]))
    for number, arrive in enumerate(arriving):
        (found,) = arrive()
        assert found.unique().tolist() == [2.0 * number]
