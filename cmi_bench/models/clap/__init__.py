"""CLAP of LAION: one space for audio and text."""

from cmi_bench.models.clap.model import Clap

__all__ = ["Clap"]
