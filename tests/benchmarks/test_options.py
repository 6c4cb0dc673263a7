"""The words of the benchmarks' command lines: their help, and words that they cannot use."""

import importlib
import sys

import pytest

WRONG = {
    "audio": "nowhere",
    "gpu": "many",
    "inference": "many",
    "scale": "many",
    "screenshots": "more",
    "stores": "many",
    "training": "many",
}
"""A word that each of them cannot use."""


@pytest.mark.slow  # of what they import
@pytest.mark.parametrize("name", WRONG)
def test_help_and_mistakes_end_before_anything_is_measured(name, monkeypatch, capsys):
    module = importlib.import_module(f"benchmarks.{name}")
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit, match="0"):
        module.main()
    assert "usage: " in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", [name, WRONG[name]])
    with pytest.raises(SystemExit, match="2"):
        module.main()
    assert WRONG[name] in capsys.readouterr().err
