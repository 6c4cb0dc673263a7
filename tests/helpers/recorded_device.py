"""A GPU's streams, events and pinned memory, as records on the CPU: their order is what a GPU would be told."""

from contextlib import contextmanager, nullcontext

import torch


class RecordedTransfers:
    """Copies at once, and writes down what it was asked for and waited for."""

    def __init__(self):
        self.calls = []
        self.made = 0

    def upload(self, rows):
        self.calls.append(("upload", len(rows)))
        return torch.stack(list(rows))

    def record_event(self):
        self.made += 1
        number = self.made
        self.calls.append(("mark", number))
        return RecordedMark(self.calls, number)


class RecordedMark:
    def __init__(self, calls, number):
        self.calls, self.number = calls, number

    def synchronize(self):
        self.calls.append(("wait", self.number))


class RecordedStream:
    """A stream by its name."""

    def __init__(self, name, calls):
        self.name, self.calls = name, calls

    def wait_stream(self, other):
        self.calls.append(f"{self.name} waits for {other.name}")


@contextmanager
def recorded_cuda(monkeypatch):
    """Put records in the place of what `torch.cuda` and pinned memory need a GPU for; yields the calls in order."""
    calls = []
    computing = RecordedStream("computing", calls)
    streams = iter(RecordedStream(name, calls) for name in ("inward", "outward"))
    now = [computing]

    @contextmanager
    def on(stream):
        now.append(stream)
        yield
        now.pop()

    class RecordedEvent:
        def __init__(self, **_):
            pass

        def record(self, stream):
            calls.append(f"event on {stream.name}")

        def synchronize(self):
            calls.append("wait for event")

    empty, to = torch.empty, torch.Tensor.to

    def recorded_to(tensor, device, **more):
        if more.pop("non_blocking", False):
            calls.append(f"copy on {now[-1].name}")
        return to(tensor, "cpu" if torch.device(device).type == "cuda" else device, **more)

    def recorded_empty(*args, pin_memory=False, **more):
        calls.append("pinned memory")
        return empty(*args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(torch.cuda, "Stream", lambda device: next(streams))
        patch.setattr(torch.cuda, "Event", RecordedEvent)
        patch.setattr(torch.cuda, "stream", on)
        patch.setattr(torch.cuda, "current_stream", lambda device: computing)
        patch.setattr(torch.cuda, "device", nullcontext)
        patch.setattr(torch, "empty", recorded_empty)
        patch.setattr(torch.Tensor, "to", recorded_to)
        patch.setattr(torch.Tensor, "record_stream", lambda tensor, stream: calls.append(f"kept for {stream.name}"))
        yield calls
