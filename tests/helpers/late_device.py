"""A GPU that does its work late, on the CPU: what is not waited for is not there, what is let go is written over.

Streams are queues of work. Nothing is done before somebody waits for it. Then other streams are as far ahead as they
may be, or somewhere, so that memory which is used again too early is seen to be; or they do nothing but what is waited
for, so that other things are not there. Memory that the program lets go is overwritten at once by the stream that it
came from, as PyTorch may do, unless `record_stream` has named other streams, which are waited for.
"""

import math
import random
import sys
import weakref
from contextlib import contextmanager, nullcontext

import torch

CUDA = torch.device("cuda", 0)
CPU = torch.device("cpu")
OTHERS = ("ahead", "behind", *range(6))
"""What other streams do before each step of the one that is waited for: all that they may, nothing, or at random."""
_clone, _copy, _to = torch.Tensor.clone, torch.Tensor.copy_, torch.Tensor.to


class Stream:
    def __init__(self, device=None):
        self.work, self.done = [], 0

    def wait_stream(self, other):
        self.wait_event((other, len(other.work)))

    def wait_event(self, event):
        place = event.place if isinstance(event, Event) else event
        if place is not None:
            self.work.append(place)


class Event:
    """A place in a stream's work, once it is recorded."""

    gpu = None

    def __init__(self, **_):
        self.place = None

    def record(self, stream):
        self.place = stream, len(stream.work)

    def synchronize(self):
        Event.gpu.run(*self.place)


class LateDevice:
    def __init__(self, others):
        steps = random.Random(others) if isinstance(others, int) else None
        self.most = (lambda: steps.randrange(4)) if steps else lambda: sys.maxsize * (others == "ahead")
        self.streams, self.now = [], [Stream()]
        self.recording = None

    def stream(self, device=None):
        self.streams.append(Stream())
        return self.streams[-1]

    @contextmanager
    def on(self, stream):
        self.now.append(stream)
        try:
            yield
        finally:
            self.now.pop()

    def run(self, stream, place):
        """Do a stream's work up to a place."""
        while stream.done < place:
            for other in (self.now[0], *self.streams):
                if other is not stream:
                    self._run_on(other)
            self._step(stream)

    def _run_on(self, stream):
        """Do what a stream may without waiting for others."""
        most = min(stream.done + self.most(), len(stream.work))
        while stream.done < most:
            work = stream.work[stream.done]
            if isinstance(work, tuple) and work[0].done < work[1]:
                return
            self._step(stream)

    def _step(self, stream):
        work = stream.work[stream.done]
        if isinstance(work, tuple):
            self.run(*work)
        else:
            work()
        stream.done += 1

    def launch(self, work):
        """Have the current stream do something, or the graph that is being recorded."""
        (self.now[-1].work if self.recording is None else self.recording).append(work)

    def compute(self, function, *given):
        """Return what a function makes of tensors, once the current stream has come to it."""
        made, inputs = self.empty(function(*given).shape), [one.detach() for one in given]
        there = made.detach()
        self.launch(lambda: _copy(there, function(*inputs)))
        return made

    def empty(self, shape):
        """Return memory of the current stream, which overwrites it when the program lets it go."""
        made, stream, used_by = torch.full(tuple(shape), math.nan), self.now[-1], []
        made.used_by = used_by
        if self.recording is None:  # a graph keeps what it has
            weakref.finalize(made, self._let_go, made.detach(), stream, used_by)
        return made

    def _let_go(self, there, stream, used_by):
        stream.work += [(other, len(other.work)) for other in used_by]
        stream.work.append(lambda: there.fill_(math.nan))


class Graph:
    def __init__(self, gpu):
        self.gpu, self.work = gpu, []

    def replay(self):
        for work in self.work:
            self.gpu.launch(work)


@contextmanager
def late_cuda(monkeypatch, others):
    """Put such a device in the place of CUDA; yields it."""
    gpu = Event.gpu = LateDevice(others)

    def to(tensor, device, non_blocking=False):
        if not non_blocking:
            return _to(tensor, "cpu")
        made = gpu.empty(tensor.shape) if torch.device(device).type == "cuda" else torch.full(tensor.shape, math.nan)
        there, given = made.detach(), tensor.detach()
        gpu.launch(lambda: _copy(there, given))
        return made

    def copy(tensor, given):
        there, given = tensor.detach(), given.detach()
        gpu.launch(lambda: _copy(there, given))
        return tensor

    @contextmanager
    def recording(graph, *, pool, stream, capture_error_mode):
        gpu.recording = graph.work
        yield
        gpu.recording = None

    empty = torch.empty
    fakes = {
        torch.cuda: {
            "Stream": gpu.stream,
            "Event": Event,
            "stream": gpu.on,
            "current_stream": lambda device=None: gpu.now[-1],
            "device": nullcontext,
            "CUDAGraph": lambda: Graph(gpu),
            "graph": recording,
            "graph_pool_handle": tuple,
        },
        torch._C: {"_cuda_clearCublasWorkspaces": lambda: None},
        torch: {"empty": lambda *shape, pin_memory=False, **more: empty(*shape, **more)},
        torch.Tensor: {
            "to": to,
            "copy_": copy,
            "clone": lambda tensor: gpu.compute(_clone, tensor),
            "record_stream": lambda tensor, stream: tensor.used_by.append(stream),
            "device": property(lambda tensor: CUDA if hasattr(tensor, "used_by") else CPU),
        },
    }
    with monkeypatch.context() as patch:
        for owner, names in fakes.items():
            for name, fake in names.items():
                patch.setattr(owner, name, fake)
        yield gpu
