"""What a run keeps: scores come back as they were written, or not at all."""

import math

import pytest

from cmi_bench.scoring.store import FailureLog, ScoreStore, open_scores
from cmi_bench.types import Aspect, Score

SCORES = {"k1": Score(0.1, math.nan), "k2": Score(-1e-9, 3.0)}


@pytest.fixture(params=["folder", "address"])
def place(request, tmp_path, monkeypatch):
    if request.param == "folder":
        return tmp_path / "store"
    monkeypatch.setattr("cmi_bench.utils.addresses.cache_folder", lambda: tmp_path / "machine")
    return f"memory://{tmp_path.name}/store"


def test_scores_come_back_as_they_were(place):
    store = ScoreStore(place)
    store.append(SCORES)
    store.close()
    found = ScoreStore(place).lookup(["k2", "nowhere", "k1"])
    assert list(found) == ["k2", "k1"]
    assert math.isnan(found["k1"].musicality) and found["k1"].alignment == 0.1
    assert found["k2"] == SCORES["k2"]
    assert store.size().entries == 2


def test_what_the_members_of_an_ensemble_say_comes_back(tmp_path):
    scores = {"k": Score(math.nan, 2.0, members=((math.nan, 1.0), (math.nan, 3.0)))}
    ScoreStore(tmp_path).append(scores)
    found = ScoreStore(tmp_path).lookup("k")["k"]
    assert found.of_members(Aspect.MUSICALITY) == (1.0, 3.0)
    assert found.spread(Aspect.MUSICALITY) == pytest.approx(math.sqrt(2))
    assert math.isnan(found.spread(Aspect.ALIGNMENT))


def test_an_empty_store_is_empty(tmp_path):
    store = ScoreStore(tmp_path / "nowhere")
    assert store.lookup(["k"]) == {}
    store.append({})
    assert not (tmp_path / "nowhere").exists()


def test_a_score_that_was_changed_is_not_believed(tmp_path, caplog):
    store = ScoreStore(tmp_path)
    store.append(SCORES)
    (path,) = tmp_path.glob("*.pack")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert set(store.lookup(SCORES)) == {"k1"}
    assert "1 entries" in caplog.text and "made anew" in caplog.text
    store.append(SCORES)
    assert set(ScoreStore(tmp_path).lookup(SCORES)) == {"k1", "k2"}


def test_a_process_keeps_one_store_open(tmp_path):
    assert open_scores(tmp_path / "a") is open_scores(tmp_path / "a") is not open_scores(tmp_path / "b")


@pytest.mark.parametrize("error", ["line\u2028separator", "next\x85line", "a\nb", "half a pair: \ud800"])
def test_a_reason_may_hold_any_text(tmp_path, error):
    failures = FailureLog(tmp_path, 0)
    failures.append({"k": error, "m": "plain"})
    assert failures.read() == {"k": error, "m": "plain"}


def test_clear_forgets_scores_and_what_is_known_of_them(place):
    store = ScoreStore(place)
    store.append(SCORES)
    store.notes.put_many({"note": b"x"})
    store.clear()
    assert store.lookup(SCORES) == {} and "note" not in store.notes
    assert ScoreStore(place).size() == (0, 0)
