"""What a run keeps: scores come back as they were written, or not at all."""

import math
import subprocess
import sys

import pytest

from cmi_bench.scoring.store import FailureLog, ScoreStore
from cmi_bench.types import Aspect, Score

SCORES = {"k1": Score(0.1, math.nan), "k2": Score(-1e-9, 3.0)}


def test_scores_come_back_as_they_were(tmp_path):
    ScoreStore(tmp_path / "s").append(SCORES)
    found = ScoreStore(tmp_path / "s").read()
    assert math.isnan(found["k1"].musicality)
    assert found["k2"] == SCORES["k2"]


def test_what_the_members_of_an_ensemble_say_comes_back(tmp_path):
    scores = {"k": Score(math.nan, 2.0, members=((math.nan, 1.0), (math.nan, 3.0)))}
    ScoreStore(tmp_path).append(scores)
    found = ScoreStore(tmp_path).read()["k"]
    assert found.of_members(Aspect.MUSICALITY) == (1.0, 3.0)
    assert found.spread(Aspect.MUSICALITY) == pytest.approx(math.sqrt(2))
    assert math.isnan(found.spread(Aspect.ALIGNMENT))


def test_a_model_that_is_no_ensemble_has_the_lines_it_always_had(tmp_path):
    """What was stored before stays readable, and other versions can read what is stored now."""
    ScoreStore(tmp_path).append({"k2": SCORES["k2"]})
    (path,) = tmp_path.glob("*.jsonl")
    checksum = "1dc46c04a42379310bdaf8c6ec0a9ebaf50f3ec5e6fd95e780edcfa49e4e9ce6"
    assert path.read_text() == f'{{"key": "k2", "alignment": -1e-09, "musicality": 3.0, "sha256": "{checksum}"}}\n'


def test_an_empty_store_is_empty(tmp_path):
    store = ScoreStore(tmp_path / "nowhere")
    assert store.read() == {}
    store.append({})
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("cut", [2, 20, 40])
def test_a_line_cut_off_by_a_kill_is_passed_over(tmp_path, cut):
    ScoreStore(tmp_path).append(SCORES)
    (path,) = tmp_path.glob("*.jsonl")
    path.write_bytes(path.read_bytes()[:-cut])
    assert set(ScoreStore(tmp_path).read()) == {"k1"}
    # Whoever goes on writes to a file of its own, so that the torn line stays the last of its file.
    ScoreStore(tmp_path).append({"k2": SCORES["k2"]})
    assert set(ScoreStore(tmp_path).read()) == {"k1", "k2"}


def test_what_is_no_score_is_passed_over(tmp_path):
    (tmp_path / "x.jsonl").write_text(
        '{"key": "a"}\n[1]\nnonsense\n{"key": "b", "alignment": "high", "musicality": 1}\n'
    )
    assert ScoreStore(tmp_path).read() == {}


@pytest.mark.parametrize("change", [(b"0.1", b"0.7"), (b"3.0", b"NaN"), (b'"k2"', b'"k1"'), (b"3.0", b"null")])
def test_a_score_that_was_changed_is_not_believed(tmp_path, change):
    store = ScoreStore(tmp_path)
    store.append(SCORES)
    (path,) = tmp_path.glob("*.jsonl")
    content = path.read_bytes()
    assert change[0] in content
    path.write_bytes(content.replace(*change))
    found = store.read()
    assert len(found) == 1
    store.append(SCORES)
    assert len(store.read()) == 2
    assert not store.unverified  # what was scored again is believed


def test_a_record_without_a_checksum_is_not_believed(tmp_path):
    (tmp_path / "old.jsonl").write_text('{"key": "k", "alignment": 0.5, "musicality": 1.0}\n')
    store = ScoreStore(tmp_path)
    assert store.read() == {}
    assert store.unverified == {"k"}


@pytest.mark.parametrize("error", ["line\u2028separator", "next\x85line", "a\nb", "half a pair: \ud800"])
def test_a_reason_may_hold_any_text(tmp_path, error):
    failures = FailureLog(tmp_path, 0)
    failures.append({"k": error, "m": "plain"})
    assert failures.read() == {"k": error, "m": "plain"}


def test_clear_forgets(tmp_path):
    store = ScoreStore(tmp_path)
    store.append(SCORES)
    store.clear()
    assert store.read() == {}


@pytest.mark.slow
def test_many_processes_may_write_at_once(tmp_path):
    code = (
        "import sys; from pathlib import Path; from cmi_bench.scoring.store import *\n"
        "from cmi_bench.types import Score\n"
        "store = ScoreStore(Path(sys.argv[1]))\n"
        "for i in range(200): store.append({f'{sys.argv[2]}-{i}': Score(i, i)})"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(n)]) for n in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert len(ScoreStore(tmp_path).read()) == 600
