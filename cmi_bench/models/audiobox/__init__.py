"""Audiobox Aesthetics: four ratings of any audio."""

from cmi_bench.models.audiobox.model import Audiobox

__all__ = ["Audiobox"]
