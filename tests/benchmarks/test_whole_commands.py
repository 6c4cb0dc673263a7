"""Commands of two sides, from figures that are written down here, and one that fails."""

import sys

import pytest

from benchmarks.whole_commands import Command, command_table, public_command
from cmi_bench.errors import UserError
from cmi_bench.utils.console import plain_text


def test_the_table_says_how_many_times_as_fast_and_how_far_scores_are():
    public = Command("public code", 90.0, 180.0, None, [[1.0, 2.0, 3.0, 4.0]])
    ours = Command("ours, nothing kept", 30.0, 45.0, 4.5, [[1.0, 2.0, 3.0, 4.002]])

    lines = plain_text(command_table([public, ours], 1), width=130).splitlines()

    (shown,) = (line for line in lines if "nothing kept" in line)
    assert shown.split("\u2502")[2:-1] == [
        " 30.0     ",
        " 3.0   ",
        " 45.0         ",
        " 4.0   ",
        " 4.5        ",
        " 0.002            ",
    ]


def test_a_command_that_fails_is_told_with_its_last_words(tmp_path):
    (tmp_path / "inference_benchmark.py").write_text("import sys; sys.exit('no such device')")
    checkpoint, rows = tmp_path / "whole", tmp_path / "rows.jsonl"

    with pytest.raises(UserError, match="ended with exit code 1") as caught:
        public_command(tmp_path, sys.executable, checkpoint, rows, device="cpu", precision="32", environment={})
    assert "no such device" in caught.value.hint
