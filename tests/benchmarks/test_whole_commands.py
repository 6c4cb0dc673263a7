"""Commands of two sides, from figures that are written down here, and one that fails."""

import sys

import pytest

from benchmarks.whole_commands import Command, Setup, benchmark_commands, command_table, song_commands
from cmi_bench.errors import UserError
from cmi_bench.utils.console import plain_text


def cells(table, name):
    (line,) = (line for line in plain_text(table, width=130).splitlines() if name in line)
    return [cell.strip() for cell in line.split("\u2502")[1:-1]]


def test_the_table_says_how_many_times_as_fast_and_how_far_scores_are():
    public = Command("public code", 90.0, 180.0, None, [[1.0, 2.0, 3.0, 4.0]])
    ours = Command("ours, nothing kept", 30.0, 45.0, 4.5, [[1.0, 2.0, 3.0, 4.002]])
    table = command_table("Two pairs", [public, ours])

    assert cells(table, "nothing kept") == ["ours, nothing kept", "30.0", "3.0", "45.0", "4.0", "4.5", "0.002"]
    song = command_table("One song", [Command("public code", 20.0, 40.0), Command("ours, again", 2.0, 5.0)])
    assert cells(song, "again") == ["ours, again", "2.0", "10.0", "5.0", "8.0"]


@pytest.fixture
def setup(tmp_path):
    """A public repository whose commands say what they were told, and fail."""
    (tmp_path / "baselines").mkdir()
    for script in ("inference_benchmark.py", "baselines/inference.py"):
        (tmp_path / script).write_text("import sys; sys.exit(' '.join(sys.argv[1:]))")
    return Setup(tmp_path, sys.executable, tmp_path / "whole", "cpu", "32", {})


def test_a_command_that_fails_is_told_with_its_last_words(setup, tmp_path):
    with pytest.raises(UserError, match=r"inference_benchmark\.py ended with exit code 1") as caught:
        benchmark_commands(setup, tmp_path / "rows.jsonl")
    assert f"--dataset_jsonl {tmp_path}/rows.jsonl" in caught.value.hint
    assert '{"bf16": false}' in caught.value.hint

    with pytest.raises(UserError, match=r"baselines/inference\.py ended with exit code 1") as caught:
        song_commands(setup, tmp_path / "a.wav", seconds=30, text="slow", lyrics="la")
    assert f"-a {tmp_path}/a.wav -t slow -l la --max_dur 30 --device cpu --no_bf16" in caught.value.hint
