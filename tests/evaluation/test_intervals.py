"""Intervals of the tables: against SciPy, known answers, what must not move them, and their coverage."""

import math

import numpy as np
import pytest
import scipy.stats
from scored_rows import arena, clip, clips, cmi
from statsmodels.stats.proportion import proportion_confint

from cmi_bench.config import MetricSettings
from cmi_bench.evaluation.bootstrap import resample, stream
from cmi_bench.evaluation.evaluate import evaluate
from cmi_bench.evaluation.intervals import percentile_interval
from cmi_bench.evaluation.metrics import metric_by_name

GENERATOR = np.random.default_rng(5)
LABELS = GENERATOR.uniform(1, 5, 80).round(1).tolist()
SCORES = [label + noise for label, noise in zip(LABELS, GENERATOR.normal(0, 1.2, 80), strict=True)]
CORRELATIONS = {
    "SRCC": lambda x, y: scipy.stats.spearmanr(x, y).statistic,
    "LCC": lambda x, y: scipy.stats.pearsonr(x, y).statistic,
    "K-Tau": lambda x, y: scipy.stats.kendalltau(x, y).statistic,
}


def only(rows, **settings):
    (record,) = evaluate(rows, MetricSettings(**settings)).summary
    return record


def bounds(interval):
    return (interval.low, interval.high)


@pytest.mark.parametrize("name", CORRELATIONS)
@pytest.mark.parametrize("confidence", [0.95, 0.8])
def test_correlations_against_scipys_percentile_bootstrap(name, confidence):
    theirs = scipy.stats.bootstrap(
        (np.array(LABELS), np.array(SCORES)),
        CORRELATIONS[name],
        paired=True,
        vectorized=False,
        n_resamples=2000,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    ours = only(clips(LABELS, SCORES), confidence=confidence).intervals[name]
    # Two finite bootstraps differ by chance: by about a fifth of a standard error at their 2.5 % points.
    assert bounds(ours) == pytest.approx((theirs.low, theirs.high), abs=0.025)


def test_accuracy_against_scipys_bootstrap_and_statsmodels():
    rows = [arena("A", int(i % 3 != 0), 0.5) for i in range(120)]
    interval = only(rows).intervals["ACC"]
    theirs = scipy.stats.bootstrap(
        (np.repeat([1.0, 0.0], [80, 40]),),
        np.mean,
        n_resamples=10_000,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    assert bounds(interval) == pytest.approx((theirs.low, theirs.high), abs=0.01)
    assert interval.exact == pytest.approx(proportion_confint(80, 120, method="beta"), abs=1e-12)
    assert interval.exact == pytest.approx(bounds(interval), abs=0.015)


def test_rows_of_a_prompt_are_drawn_together():
    # Prompts are all right or all wrong: 60 observations, not 300.
    rows = [arena("A", int(i % 2), 0.5, prompt=f"p{i}") for i in range(60) for _ in range(5)]
    by_prompt, by_row = (only(rows, cluster=cluster).intervals["ACC"] for cluster in ("prompt", "none"))
    assert (by_prompt.n_clusters, by_row.n_clusters) == (60, 300)
    sixty = only(rows[::5]).intervals["ACC"]
    assert bounds(by_prompt) == pytest.approx(bounds(sixty), abs=0.02)
    assert (by_prompt.high - by_prompt.low) / (by_row.high - by_row.low) == pytest.approx(5**0.5, rel=0.1)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_oracle_and_its_reverse_have_no_spread(sign):
    record = only(clips(LABELS, [sign * label for label in LABELS]))
    assert {name: bounds(interval) for name, interval in record.intervals.items()} == dict.fromkeys(
        CORRELATIONS, (sign, sign)
    )
    pairs = only([arena("A", sign, 0)] * 30).intervals["ACC"]
    assert pairs.is_flat
    assert bounds(pairs) == (max(sign, 0),) * 2
    assert pairs.exact == pytest.approx(proportion_confint(30 * max(sign, 0), 30, method="beta"), abs=1e-12)


def test_random_scores_have_chance_within():
    generator = np.random.default_rng(2)
    rows = [arena(str(generator.choice(["A", "B"])), *generator.normal(size=2)) for _ in range(400)]
    rows += clips(generator.uniform(1, 5, 200), generator.normal(size=200))
    mos, pairs = evaluate(rows, MetricSettings(resamples=1000)).summary
    assert pairs.intervals["ACC"].low < 0.5 < pairs.intervals["ACC"].high
    assert all(interval.low < 0 < interval.high for interval in mos.intervals.values())


def test_a_constant_prediction_has_no_interval_as_it_has_no_value():
    assert only(clips(LABELS, [0.5] * 80)).intervals == {}


def test_all_ties_have_half_credits_and_so_no_exact_interval():
    interval = only([arena("A", 1, 1)] * 10 + [arena("B", 0, 0)] * 10).intervals["ACC"]
    assert (bounds(interval), interval.exact) == ((0.5, 0.5), None)


def test_all_failed_is_nothing_with_certainty():
    interval = only([arena("A", None, None)] * 10).intervals["ACC"]
    assert bounds(interval) == (0.0, 0.0)
    assert interval.exact == pytest.approx(proportion_confint(0, 10, method="beta"), abs=1e-12)
    assert only(clips(LABELS, [None] * 80, inference_valid_a=False)).intervals == {}


def test_few_rows():
    assert only([clip(None, 1)]).intervals == {}
    assert only([arena(None, 1, 0)]).intervals == {}
    one = only([arena("A", 1, 0)]).intervals["ACC"]
    assert (bounds(one), one.reason) == ((None, None), "one row only")
    two = only(clips([2, 3], [0, 1])).intervals["SRCC"]
    assert two.low is None
    assert "undefined in" in two.reason
    assert two.n_degenerate == pytest.approx(5000, abs=200)
    pair = only([arena("A", 1, 0), arena("A", 0, 1)]).intervals["ACC"]
    assert bounds(pair) == (0.0, 1.0)


def test_one_prompt_has_no_interval():
    rows = [arena("A", i % 2, 0.5, prompt="song") for i in range(10)]
    assert only(rows).intervals["ACC"].reason == "one prompt only"
    assert only(rows, cluster="none").intervals["ACC"].low is not None


def test_resamples_without_spread_are_dropped_and_counted():
    # Five rows, one of them different: it is missing from (4/5)**5 = 33 % of the resamples; of 8, from 34 %.
    interval = only(clips([1, 1, 1, 1, 5], [1, 2, 3, 4, 5])).intervals["SRCC"]
    assert interval.n_degenerate == pytest.approx(0.33 * 10_000, abs=250)
    assert interval.reason.startswith("undefined in")
    enough = only(clips([1, 1, 1, 5, 5, 5], [1, 2, 3, 4, 5, 6])).intervals["SRCC"]
    assert 0 < enough.n_degenerate < 500
    assert enough.low is not None


def test_zero_resamples_switch_intervals_off():
    assert only(clips(LABELS, SCORES), resamples=0).intervals == {}


def intervals_by_place(evaluation):
    records = [*evaluation.summary, *evaluation.detail]
    return {
        (r.dataset, r.task, *(getattr(r, k, None) for k in ("group_key", "group_value", "ref_category"))): r.intervals
        for r in records
    }


def some_pairs():
    generator = np.random.default_rng(3)
    return [
        cmi(*generator.choice(["model_a", "model_b"], 2).tolist(), tuple(generator.normal(size=4).tolist()),
            prompt=f"p{i % 25}", lyrics="la" * (i % 2))
        for i in range(60)
    ]  # fmt: skip


def test_a_seed_gives_the_same_intervals_and_another_seed_others():
    first, again, other = (
        intervals_by_place(evaluate(some_pairs(), MetricSettings(seed=seed, resamples=500))) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other
    assert len(first) > 8


def test_other_groups_datasets_and_metrics_move_no_interval():
    few = intervals_by_place(evaluate(some_pairs(), MetricSettings(by_lyrics=False, resamples=500)))
    many = intervals_by_place(evaluate([*clips(LABELS, SCORES), *some_pairs()], MetricSettings(resamples=500)))
    assert few == {place: many[place] for place in few}
    without = only(clips(LABELS, SCORES), include_lcc=False, resamples=500).intervals
    assert without["K-Tau"] == only(clips(LABELS, SCORES), resamples=500).intervals["K-Tau"]


def test_pinned_for_every_machine():
    intervals = only(clips(LABELS, SCORES)).intervals
    assert {name: bounds(interval) for name, interval in intervals.items()} == {
        "SRCC": (0.53486563014, 0.788088347709),
        "LCC": (0.584258407335, 0.781187735055),
        "K-Tau": (0.376751319663, 0.597762152889),
    }


EXPERIMENTS = 800
RESAMPLES = 600
ROWS = 100
RHO = 0.5
TRUE = {"LCC": RHO, "SRCC": 6 / math.pi * math.asin(RHO / 2), "K-Tau": 2 / math.pi * math.asin(RHO)}
"""Of the bivariate normal distribution (Kendall 1949)."""


def covers(metric, label, prediction, cluster, truth, number):
    n_clusters = int(cluster.max()) + 1
    weighted = {"metric": metric.weighted(label, prediction, cluster)}
    values = resample(
        weighted, n_clusters, resamples=RESAMPLES, generator=stream(number, "coverage"), width=label.size
    )["metric"]
    interval = percentile_interval(values, cluster, 0.95)
    return interval.low <= truth <= interval.high


@pytest.mark.slow
@pytest.mark.parametrize("name", TRUE)
def test_correlations(name):
    generator = np.random.default_rng(0)
    covered = 0
    for number in range(EXPERIMENTS):
        label, noise = generator.normal(size=(2, ROWS))
        prediction = RHO * label + math.sqrt(1 - RHO**2) * noise
        covered += covers(metric_by_name(name), label, prediction, np.arange(ROWS), TRUE[name], number)
    assert 0.93 <= covered / EXPERIMENTS <= 0.97


def drawn_pairs(generator, n_prompts, rows_of_prompt):
    """Predictions that are right with a probability that each prompt has of its own, 0.7 in the mean."""
    chance = np.repeat(generator.beta(2.8, 1.2, n_prompts), rows_of_prompt)
    return np.where(generator.random(chance.size) < chance, 1.0, -1.0)


def accuracy_coverage(cluster_of):
    generator = np.random.default_rng(0)
    covered = 0
    for number in range(EXPERIMENTS):
        prediction = drawn_pairs(generator, 100, 4)
        covered += covers(
            metric_by_name("ACC"), np.ones(400), prediction, cluster_of(np.arange(400)), 2.8 / (2.8 + 1.2), number
        )
    return covered / EXPERIMENTS


@pytest.mark.slow
def test_accuracy_with_prompts_that_repeat():
    assert 0.93 <= accuracy_coverage(lambda row: row // 4) <= 0.97


@pytest.mark.slow
def test_rows_taken_for_independent_where_they_are_not_promise_too_much():
    assert accuracy_coverage(lambda row: row) < 0.9
