"""A little load on a server in a process of its own, and SIGTERM while it works."""

import pytest

from benchmarks.serving import Load, measure, plain_text, view


@pytest.mark.slow
def test_a_little_load(tmp_path):
    load = Load("constant", None, clients=6, seconds=1.5, songs=6, lengths=(0.5, 2.0))
    result, answers = measure(load, tmp_path)
    assert answers.wrong == []
    assert set(result.answers) <= {"200", "503", "refused"}
    assert result.answers["200"] > 20
    assert (result.exit_code, result.left) == (0, [])
    assert result.threads[0] == result.threads[1]
    assert "wrong receipts" in plain_text(view(result))
