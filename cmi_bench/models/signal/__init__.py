"""The signal baseline: musicality and alignment from signal statistics, without weights."""

from cmi_bench.models.signal.model import SignalBaseline

__all__ = ["SignalBaseline"]
