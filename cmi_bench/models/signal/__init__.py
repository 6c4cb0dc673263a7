"""The signal baseline, one file per kind of property."""

from cmi_bench.models.signal.model import SignalBaseline

__all__ = ["SignalBaseline"]
