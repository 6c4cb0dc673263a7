import itertools

import numpy as np
import pytest

from cmi_bench.evaluation.comparison import significance_groups


def share(letters, first, second):
    return bool(set(letters[first]) & set(letters[second]))


@pytest.mark.parametrize("seed", range(20))
def test_runs_share_a_letter_exactly_if_they_do_not_differ(seed):
    generator = np.random.default_rng(seed)
    names = [f"run{number}" for number in range(generator.integers(1, 8))]
    pairs = list(itertools.combinations(names, 2))
    differing = [frozenset(pair) for pair in pairs if generator.random() < 0.5]
    letters = significance_groups(names, differing)
    for pair in pairs:
        assert share(letters, *pair) == (frozenset(pair) not in differing)
    assert all(letters.values())


def test_the_best_gets_the_first_letter_and_overlaps_get_two():
    differing = [frozenset({"best", "worst"})]
    assert significance_groups(["best", "middle", "worst"], differing) == {"best": "a", "middle": "ab", "worst": "b"}


def test_extremes():
    names = [str(number) for number in range(30)]
    assert set(significance_groups(names, []).values()) == {"a"}
    everything = [frozenset(pair) for pair in itertools.combinations(names, 2)]
    letters = significance_groups(names, everything)
    assert [letters[name] for name in ("0", "1", "25", "26", "27")] == ["a", "b", "z", "a2", "b2"]
    assert significance_groups([], []) == {}
