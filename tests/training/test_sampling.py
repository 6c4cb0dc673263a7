"""Which rows make which step."""

from collections import Counter

import numpy as np
import pytest
from toy_training import pair, rating

from cmi_bench.evaluation.clusters import system_ids
from cmi_bench.training.sampling import Sampler, system_weights
from cmi_bench.training_config import Balance, SamplingConfig, Unit


def sampler(examples, *, batch_size=8, steps=50, seed=0, **settings):
    return Sampler(examples, SamplingConfig(**settings), batch_size=batch_size, steps=steps, seed=seed)


def drawn(one, steps):
    return [row for step in range(steps) for unit in one.step(step) for row in unit]


PAIRS = [pair(index) for index in range(1, 41)]
RATINGS = [rating(index) for index in range(41, 51)]


def test_each_row_comes_up_once_in_an_epoch_in_an_order_of_its_own():
    rows = [row.example for row in drawn(sampler(PAIRS), 15)]
    epochs = [rows[start : start + 40] for start in (0, 40, 80)]
    assert all(sorted(epoch) == list(range(40)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_a_step_follows_from_seed_and_number_alone():
    short, long = sampler(PAIRS + RATINGS, steps=20), sampler(PAIRS + RATINGS, steps=90)
    backwards = [long.step(number) for number in reversed(range(20))]
    assert backwards[::-1] == [short.step(number) for number in range(20)]
    assert sampler(PAIRS + RATINGS, seed=1).step(0) != short.step(0)


@pytest.mark.parametrize(("temperature", "share"), [(1.0, 0.2), (2.0, 1 / 3), (1e9, 0.5)])
def test_sources_are_mixed_by_their_rows_to_the_power_of_one_over_the_temperature(temperature, share):
    rows = drawn(sampler(PAIRS + RATINGS, steps=200, temperature=temperature), 200)
    ratings = sum(row.example >= len(PAIRS) for row in rows)
    assert ratings / len(rows) == pytest.approx(share, abs=0.01)
    of_ratings = Counter(row.example for row in rows if row.example >= len(PAIRS))
    assert max(of_ratings.values()) - min(of_ratings.values()) <= 1  # no row of a source more often than another


def test_a_source_has_its_share_in_every_stretch_of_the_training():
    one = sampler(PAIRS + RATINGS, steps=200)
    shares = [
        sum(row.example >= len(PAIRS) for row in drawn(one, 200)[start : start + 80]) for start in range(0, 1500, 80)
    ]
    assert np.ptp(shares) <= 8  # of 16: independent draws would spread by some 14


def test_balanced_systems_come_up_equally_often():
    rare, common = [rating(n, system="rare") for n in range(4)], [rating(n + 4, system="common") for n in range(36)]
    one = sampler(rare + common, steps=100, balance=Balance.systems)
    from_rare = sum(row.example < 4 for row in drawn(one, 100))
    assert from_rare / 800 == pytest.approx(0.5, abs=0.02)


def test_a_pair_counts_for_the_systems_of_both_its_clips():
    examples = [pair(1, systems=("x", "y")), pair(2, systems=("x", "z")), pair(3, systems=("x", "z"))]
    rows = [one.row for one in examples]
    weights = system_weights(system_ids([row.raw for row in rows], rows[0].dataset))
    np.testing.assert_allclose(weights, [(1 / 3 + 1) / 2, (1 / 3 + 1 / 2) / 2, (1 / 3 + 1 / 2) / 2])


def test_rows_of_a_prompt_are_drawn_together():
    examples = [rating(index, prompt=f"prompt {index % 7}") for index in range(50)]
    one = sampler(examples, unit=Unit.prompt, steps=30)
    for step in range(30):
        for unit in one.step(step):
            prompts = {examples[row.example].row.prompt for row in unit}
            assert len(prompts) == 1 and len(unit) == Counter(index % 7 for index in range(50))[int(prompts.pop()[-1])]
    assert len(drawn(one, 30)) == pytest.approx(240, abs=8)


def test_rows_without_a_prompt_are_prompts_of_their_own():
    examples = [rating(index) for index in range(6)]
    for example in examples:
        example.row.raw["prompt"] = ""
    assert {len(unit) for step in range(5) for unit in sampler(examples, unit=Unit.prompt).step(step)} == {1}


def test_swaps_and_dropped_inputs_come_at_their_rates_and_independently():
    rows = drawn(sampler(PAIRS, steps=1000, drop_text=0.2, drop_ref_audio=0.5), 1000)
    text, reference = ["text" in row.dropped for row in rows], ["ref_audio" in row.dropped for row in rows]
    swapped = [row.is_swapped for row in rows]
    assert np.mean(swapped) == pytest.approx(0.5, abs=0.02)
    assert (np.mean(text), np.mean(reference)) == (pytest.approx(0.2, abs=0.02), pytest.approx(0.5, abs=0.02))
    assert not any("lyrics" in row.dropped for row in rows)
    assert np.abs(np.corrcoef([text, reference, swapped])[np.triu_indices(3, 1)]).max() < 0.05
    assert not any(row.is_swapped for row in drawn(sampler(PAIRS, swap=False), 10))


@pytest.mark.parametrize("unit", Unit)
def test_parts_are_the_step_and_cut_no_unit(unit):
    one = sampler(PAIRS, unit=unit)
    for count in (1, 2, 3, 8, 20):
        parts = one.parts(3, count)
        assert len(parts) == count
        assert [row for part in parts for row in part] == [row for unit in one.step(3) for row in unit]
        if unit is Unit.row and count <= 8:
            assert max(map(len, parts)) - min(map(len, parts)) <= 1
