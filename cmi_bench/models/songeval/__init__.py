"""SongEval's reward model: five ratings of a song from a hidden state of MuQ."""

from cmi_bench.models.songeval.model import SongEvalRM

__all__ = ["SongEvalRM"]
