"""The examples in the docstrings do what they show."""

import doctest
from importlib import import_module

import pytest

import cmi_bench

WITH_EXAMPLES = (
    "api.evaluate",
    "api.load",
    "api.ranking",
    "api.reward",
    "api.scorer",
    "api.songs",
    "api.words",
    "cli.score",
)


@pytest.mark.parametrize("module", WITH_EXAMPLES)
def test_examples(module, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(import_module(f"cmi_bench.{module}"))
    assert result.attempted
    assert not result.failed


def test_every_public_name_is_there_and_documented():
    for name in cmi_bench.__all__:
        assert getattr(cmi_bench, name).__doc__
    with pytest.raises(AttributeError, match="has no attribute 'load_modle'"):
        _ = cmi_bench.load_modle
