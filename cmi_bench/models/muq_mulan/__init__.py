"""MuQ-MuLan: one space for music and text."""

from cmi_bench.models.muq_mulan.model import MuQMuLan

__all__ = ["MuQMuLan"]
