"""Gemini, a language model that takes audio, as judge through Google's API."""

from cmi_bench.models.gemini.model import GeminiJudge

__all__ = ["GeminiJudge"]
