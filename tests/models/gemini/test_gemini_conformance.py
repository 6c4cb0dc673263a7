"""The judge keeps to the contract, and checking it costs few questions."""

from cmi_bench.conformance.run import check_model
from cmi_bench.conformance.subject import failures

DIFFERENT_CLIPS = 8
"""Answers are kept: each is paid for once."""


def test_it_conforms_for_few_questions(judge, gemini, tmp_path):
    assert not failures(check_model(judge(), tmp_path))
    assert len(gemini.asked) == DIFFERENT_CLIPS
