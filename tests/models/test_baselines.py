"""Models whose answers are known: constant, random, oracle and its opposite."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from cmi_bench.data.fields import LabelError
from cmi_bench.data.synthetic.build import plan_mini
from cmi_bench.errors import UserError
from cmi_bench.models.base import BenchmarkBatchInput, BenchmarkModelABC
from cmi_bench.models.baselines import Constant, Oracle, Random, ReversedOracle


@dataclass
class Row:
    index: int
    raw: dict[str, Any] = field(default_factory=dict)


ARENA = "Music Arena ['01-2025JULAUG']"
CMI_PREF = "cmi-arena-annotation"


def ask(model, *clip_ids):
    return model.score_batch([BenchmarkBatchInput("no file", clip_id=clip_id) for clip_id in clip_ids], 8, 30.0)


@pytest.mark.parametrize("kind", [Constant, Random, Oracle, ReversedOracle])
def test_they_keep_the_contract(kind):
    model = kind()
    assert isinstance(model, BenchmarkModelABC)
    assert model.sr > 0
    assert model.score_batch([], 8, 30.0).shape == (0, 2)


def test_constant():
    scores = ask(Constant(alignment=0.25, musicality=3), "1:a", "1:b")
    assert np.array_equal(scores, [[0.25, 3.0], [0.25, 3.0]])


def test_random_depends_on_clip_and_seed_alone():
    ids = [f"{row}:{side}" for row in range(200) for side in "ab"]
    scores = ask(Random(seed=1), *ids)
    assert np.array_equal(ask(Random(seed=1), *ids[::-1])[::-1], scores)
    assert not np.any(ask(Random(seed=2), *ids) == scores)
    assert len(np.unique(scores)) == scores.size
    assert scores.min() >= 0
    assert scores.max() < 1
    assert np.allclose(scores.mean(axis=0), 0.5, atol=0.06)


def test_oracle_gives_mean_opinions():
    oracle = Oracle()
    oracle.bind_rows([Row(7, {"source": "PAM (music)", "musicality": 3.4, "text-music alignment": "1.5"})])
    assert np.array_equal(ask(oracle, "7:a"), [[1.5, 3.4]])


@pytest.mark.parametrize(
    ("label", "first", "second"),
    [("A", 1, 0), ("model_b", 0, 1), ("TIE", 0.5, 0.5), ("neither", 0.5, 0.5), (None, 0.5, 0.5), ("", 0.5, 0.5)],
)
def test_oracle_prefers_the_winner(label, first, second):
    oracle = Oracle()
    oracle.bind_rows([Row(2, {"source": ARENA, "preference": label})])
    # The arena's preference is one of musicality; nobody judged alignment there.
    assert np.array_equal(ask(oracle, "2:a", "2:b"), [[0.5, first], [0.5, second]])


def test_oracle_keeps_the_two_judgements_apart():
    oracle = Oracle()
    raw = {"source": CMI_PREF, "preference-musicality": "model_a", "preference-alignment": "model_b"}
    oracle.bind_rows(iter([Row(1, raw)]))
    assert np.array_equal(ask(oracle, "1:b", "1:a"), [[1, 0], [0, 1]])


def test_reversed_oracle_turns_every_order():
    rows = [Row(1, {"source": ARENA, "preference": "B"}), Row(2, {"source": "MusicEval", "musicality": 4})]
    oracle, reverse = Oracle(), ReversedOracle()
    oracle.bind_rows(rows)
    reverse.bind_rows(rows)
    ids = ("1:a", "1:b", "2:a")
    assert np.array_equal(ask(reverse, *ids), -ask(oracle, *ids))


def test_rows_of_no_dataset_are_undecided():
    oracle = Oracle()
    oracle.bind_rows([Row(1, {"source": "something else", "musicality": 4})])
    assert np.array_equal(ask(oracle, "1:a"), [[0.5, 0.5]])


def test_an_unknown_clip_is_an_error_that_names_it():
    with pytest.raises(UserError, match="'9:a'"):
        ask(Oracle(), "9:a")


def test_a_label_that_is_not_understood_is_an_error():
    with pytest.raises(LabelError, match="maybe"):
        Oracle().bind_rows([Row(1, {"source": ARENA, "preference": "maybe"})])


def test_oracle_is_right_on_every_decided_row_of_the_mini_benchmark():
    rows = [Row(number, raw) for number, raw in enumerate(plan_mini().rows, start=1)]
    oracle = Oracle()
    oracle.bind_rows(rows)
    decided = 0
    for row in rows:
        for name, column in (("preference", 1), ("preference-musicality", 1), ("preference-alignment", 0)):
            label = str(row.raw.get(name, "")).lower().removeprefix("model_")
            if label in ("a", "b"):
                first, second = ask(oracle, f"{row.index}:a", f"{row.index}:b")[:, column]
                assert (first > second) == (label == "a")
                decided += 1
    assert decided > 90
