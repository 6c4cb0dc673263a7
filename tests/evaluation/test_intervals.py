"""Intervals of the tables: against formulas written out, known answers, what must not move them, and their coverage."""

import math

import numpy as np
import pytest
import scipy.stats
from registries import restored_registries
from scored_rows import arena, clip, clips, cmi
from statsmodels.stats.proportion import proportion_confint

from cmi_bench.config import MetricSettings
from cmi_bench.data.datasets import MUSIC_ARENA, MUSIC_EVAL, MosTask
from cmi_bench.evaluation.clusters import NOBODY
from cmi_bench.evaluation.evaluate import evaluate
from cmi_bench.evaluation.intervals import ModelMetric, bootstrap_p, clustered_rows, metric_intervals, paired_test
from cmi_bench.evaluation.metrics import Metric, Statistic, metric_by_name, register_metric
from cmi_bench.evaluation.protocols import PROTOCOLS
from cmi_bench.evaluation.samples import Samples

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


def prompted(rows, size):
    return [row | {"prompt": f"p{i // size}"} for i, row in enumerate(rows)]


@pytest.mark.parametrize("name", CORRELATIONS)
@pytest.mark.parametrize("confidence", [0.95, 0.8])
def test_correlations_have_the_jackknife_over_prompts_on_fishers_scale(name, confidence):
    oracle, ids = CORRELATIONS[name], np.arange(80) // 5
    label, score = np.array(LABELS), np.array(SCORES)
    left_out = np.arctanh([oracle(label[ids != one], score[ids != one]) for one in range(16)])
    error = math.sqrt(15 / 16 * np.square(left_out - left_out.mean()).sum())
    reach = scipy.stats.t.ppf((1 + confidence) / 2, 15) * error
    centre = math.atanh(oracle(label, score))
    found = only(prompted(clips(LABELS, SCORES), 5), confidence=confidence).intervals[name]
    assert bounds(found) == pytest.approx((math.tanh(centre - reach), math.tanh(centre + reach)), abs=1e-9)
    assert (found.method, found.unit, found.n_clusters) == ("jackknife t", "prompts", 16)


def test_correlations_over_rows_agree_with_scipys_bootstrap():
    theirs = scipy.stats.bootstrap(
        (np.array(LABELS), np.array(SCORES)),
        CORRELATIONS["SRCC"],
        paired=True,
        vectorized=False,
        n_resamples=400,
        method="BCa",
        rng=np.random.default_rng(0),
    ).confidence_interval
    ours = only(clips(LABELS, SCORES)).intervals["SRCC"]
    assert bounds(ours) == pytest.approx((theirs.low, theirs.high), abs=0.04)
    assert (ours.unit, ours.n_clusters) == ("rows", 80)


def test_accuracies_have_wilsons_interval_and_the_exact_one_beside_it():
    interval = only([arena("A", int(i % 3 != 0), 0.5) for i in range(120)]).intervals["ACC"]
    assert bounds(interval) == pytest.approx(proportion_confint(80, 120, method="wilson"), abs=1e-3)
    assert interval.exact == pytest.approx(proportion_confint(80, 120, method="beta"), abs=1e-12)
    assert (interval.method, interval.unit, interval.n_clusters) == ("Wilson t", "rows", 120)


def test_rows_of_a_prompt_are_alike():
    # Prompts are all right or all wrong: 60 observations, not 300.
    rows = [arena("A", int(i % 2), 0.5, prompt=f"p{i}") for i in range(60) for _ in range(5)]
    by_prompt, by_row = (only(rows, cluster=cluster).intervals["ACC"] for cluster in ("prompt", "none"))
    assert (by_prompt.n_clusters, by_row.n_clusters) == (60, 300)
    assert (by_prompt.unit, by_row.unit) == ("prompts", "rows")
    assert bounds(by_prompt) == pytest.approx(bounds(only(rows[::5]).intervals["ACC"]), abs=0.02)
    assert (by_prompt.high - by_prompt.low) / (by_row.high - by_row.low) == pytest.approx(5**0.5, rel=0.1)


def systems(n_systems, n_prompts, seed=0):
    """Labels and scores that each have a part of the system's, another of the prompt's, and one of their own."""
    generator = np.random.default_rng(seed)
    parts = [generator.normal(size=(2, n_systems, 1)), generator.normal(size=(2, 1, n_prompts)),
             generator.normal(size=(2, n_systems, n_prompts))]  # fmt: skip
    label, score = sum(parts)
    return [
        clip(float(np.clip(3 + label[s, p], 1, 5)), float(label[s, p] + score[s, p]), prompt=f"p{p}", model_a=f"s{s}")
        for s in range(n_systems) for p in range(n_prompts)
    ]  # fmt: skip


def test_intervals_may_be_over_systems_or_both_and_say_so():
    rows = systems(12, 25)
    found = {name: only(rows, cluster=name).intervals["SRCC"] for name in ("none", "prompt", "system", "both")}
    assert {name: (one.unit, one.n_clusters) for name, one in found.items()} == {
        "none": ("rows", 300), "prompt": ("prompts", 25), "system": ("systems", 12), "both": ("prompts and systems", 12)
    }  # fmt: skip
    width = {name: one.high - one.low for name, one in found.items()}
    assert width["none"] < width["prompt"] < width["system"] <= width["both"]


def test_rows_that_name_no_system_have_no_interval_over_systems_and_over_both_that_over_prompts():
    rows = prompted(clips(LABELS, SCORES), 4)
    assert only(rows, cluster="system").intervals["SRCC"].reason == "the rows do not name their systems"
    assert only(rows, cluster="both").intervals["SRCC"] == only(rows, cluster="prompt").intervals["SRCC"]


def test_pairs_over_systems_are_alike_where_they_share_one():
    generator = np.random.default_rng(0)
    rows = [
        arena("A", int(generator.random() < 0.7), 0.5, prompt=f"p{i}", model_a=f"s{i % 12}", model_b=f"s{(i + 5) % 12}")
        for i in range(240)
    ]
    by_system = only(rows, cluster="system").intervals["ACC"]
    assert (by_system.unit, by_system.n_clusters, by_system.method) == ("systems", 12, "Wilson t")
    assert by_system.low < only(rows).metrics["ACC"] < by_system.high


@pytest.mark.parametrize("sign", [1, -1])
def test_the_oracle_and_its_reverse_have_no_spread_to_tell_by(sign):
    record = only(clips(LABELS, [sign * label for label in LABELS]))
    assert {interval.reason for interval in record.intervals.values()} == {
        "a correlation of 1 has no spread to tell by"
    }
    pairs = only([arena("A", sign, 0)] * 30).intervals["ACC"]
    assert not pairs.is_flat
    assert pairs.low == 0 if sign < 0 else pairs.high == 1
    assert pairs.exact == pytest.approx(proportion_confint(30 * max(sign, 0), 30, method="beta"), abs=1e-12)


def test_random_scores_have_chance_within():
    generator = np.random.default_rng(2)
    rows = [arena(str(generator.choice(["A", "B"])), *generator.normal(size=2)) for _ in range(400)]
    rows += clips(generator.uniform(1, 5, 200), generator.normal(size=200))
    mos, pairs = evaluate(rows).summary
    assert pairs.intervals["ACC"].low < 0.5 < pairs.intervals["ACC"].high
    assert all(interval.low < 0 < interval.high for interval in mos.intervals.values())


def test_a_constant_prediction_has_no_interval_as_it_has_no_value():
    assert only(clips(LABELS, [0.5] * 80)).intervals == {}


def test_all_ties_have_half_credits_and_so_no_exact_interval():
    interval = only([arena("A", 1, 1)] * 10 + [arena("B", 0, 0)] * 10).intervals["ACC"]
    assert interval.low < 0.5 < interval.high
    assert interval.exact is None


def test_all_failed_is_nothing_but_not_with_certainty():
    interval = only([arena("A", None, None)] * 10).intervals["ACC"]
    assert interval.low == 0
    assert 0.2 < interval.high < 0.4
    assert interval.exact == pytest.approx(proportion_confint(0, 10, method="beta"), abs=1e-12)
    assert only(clips(LABELS, [None] * 80, inference_valid_a=False)).intervals == {}


@pytest.mark.parametrize(
    ("rows", "metric", "reason"),
    [
        ([arena("A", 1, 0)], "ACC", "one row only"),
        ([arena("A", i % 2, 0.5) for i in range(9)], "ACC", "too few rows to tell (9; 10 are needed)"),
        (prompted([arena("A", i % 2, 0.5) for i in range(40)], 5), "ACC", "too few prompts to tell (8; 10 are needed)"),
        (clips([2, 3], [0, 1]), "SRCC", "too few rows to tell (2; 5 are needed)"),
        (clips([1, 2, 3, 4, 5], [2, 1, 3, 5, 4]), "K-Tau", "too few rows to tell (5; 15 are needed)"),
        (prompted(clips(LABELS, SCORES), 20), "LCC", "too few prompts to tell (4; 5 are needed)"),
        (clips([1] * 19 + [5], list(range(20))), "SRCC", "undefined without some of the rows"),
    ],
)
def test_too_little_to_tell_by_gives_no_number(rows, metric, reason):
    interval = only(rows).intervals[metric]
    assert (bounds(interval), interval.method, interval.reason) == ((None, None), "", reason)


def test_no_row_has_no_interval():
    assert only([clip(None, 1)]).intervals == {}
    assert only([arena(None, 1, 0)]).intervals == {}


@pytest.fixture
def own_metric():
    with restored_registries():
        yield register_metric(Metric("1-MAE", MosTask, lambda x, y: Statistic(1.0 - float(np.abs(x - y).mean()))))


def test_another_metric_is_bootstrapped(own_metric):
    error = np.abs(np.array(LABELS) - np.array(SCORES))
    reach = scipy.stats.t.ppf(0.975, 79) * error.std(ddof=1) / math.sqrt(80)
    interval = only(clips(LABELS, SCORES), resamples=1500).intervals["1-MAE"]
    assert bounds(interval) == pytest.approx((1 - error.mean() - reach, 1 - error.mean() + reach), abs=0.03)
    assert (interval.method, interval.n_degenerate) == ("bootstrap", 0)
    assert only(systems(12, 25), cluster="both", resamples=10).intervals["1-MAE"].reason == (
        "1-MAE has none by prompts and systems"
    )


def test_the_percentiles_are_wider_the_fewer_the_clusters(own_metric):
    few, many = (only(clips(LABELS[:n], SCORES[:n]), resamples=1000).intervals["1-MAE"] for n in (10, 80))
    error = np.abs(np.array(LABELS[:10]) - np.array(SCORES[:10]))
    assert few.high - few.low > 2 * 2.1 * error.std(ddof=1) / math.sqrt(10)
    assert many.high - many.low < few.high - few.low


def test_resamples_without_value_are_dropped_and_counted():
    with restored_registries():
        register_metric(Metric("odd", MosTask, lambda x, y: Statistic(1.0 if x.min() < 1.5 else None)))
        labels = [1.0] + [3.0] * 19
        interval = only(clips(labels, SCORES[:20]), resamples=2000).intervals["odd"]
        assert interval.n_degenerate == 0
        assert interval.reason.startswith("undefined in")


def test_a_constant_difference_is_certain_and_p_is_at_its_smallest():
    assert bootstrap_p(np.ones(999), 10**9) == pytest.approx(2 / 1000, rel=1e-3)
    assert bootstrap_p(np.ones(999), 10) > bootstrap_p(np.ones(999), 100)
    assert bootstrap_p(np.zeros(999), 50) == 1.0


def test_bootstrap_p_counts_the_rarer_side_of_nothing():
    values = np.array([1.0] * 95 + [-1.0] * 4 + [np.nan] * 7)
    assert bootstrap_p(values, 10**9) == pytest.approx(2 * 5 / 100, rel=1e-3)
    assert bootstrap_p(-values, 30) == bootstrap_p(values, 30)


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


def test_other_groups_datasets_and_metrics_move_no_interval(own_metric):
    few = intervals_by_place(evaluate(some_pairs(), MetricSettings(by_lyrics=False, resamples=50)))
    many = intervals_by_place(evaluate([*clips(LABELS, SCORES), *some_pairs()], MetricSettings(resamples=50)))
    assert few == {place: many[place] for place in few}
    without = only(clips(LABELS, SCORES), include_lcc=False, resamples=50).intervals
    assert without["1-MAE"] == only(clips(LABELS, SCORES), resamples=50).intervals["1-MAE"]


def test_a_seed_gives_the_same_bootstrap_and_another_seed_another(own_metric):
    first, again, other = (only(clips(LABELS, SCORES), seed=seed, resamples=50).intervals for seed in (1, 1, 2))
    assert first == again
    assert first["1-MAE"] != other["1-MAE"]
    assert first["SRCC"] == other["SRCC"]


def test_pinned_for_every_machine():
    intervals = only(prompted(clips(LABELS, SCORES), 2)).intervals
    assert {name: bounds(interval) for name, interval in intervals.items()} == {
        "SRCC": (0.524428888364, 0.794412515375),
        "LCC": (0.567785567536, 0.787198086335),
        "K-Tau": (0.36923862207, 0.601189961696),
    }


RHO = 0.5
TRUE = {"LCC": RHO, "SRCC": 6 / math.pi * math.asin(RHO / 2), "K-Tau": 2 / math.pi * math.asin(RHO)}
"""Of the bivariate normal distribution (Kendall 1949)."""


def samples_of(dataset, label, prediction, prompt):
    return Samples(
        dataset=dataset, task=dataset.tasks[0], protocol=PROTOCOLS["strict"], rows=np.arange(1, label.size + 1),
        label=label, prediction=prediction, prompt=prompt, system=np.full((label.size, 2), NOBODY),
        scores=np.empty((label.size, 0)), applicable=True,
    )  # fmt: skip


def alike(generator, prompt, within):
    """Standard normal values, those of a prompt correlated."""
    shared = generator.standard_normal(prompt.max() + 1)[prompt]
    return math.sqrt(within) * shared + math.sqrt(1 - within) * generator.standard_normal(prompt.size)


def correlation_coverage(cluster, experiments):
    generator, prompt = np.random.default_rng(0), np.arange(60) // 6
    held = dict.fromkeys(("SRCC", "LCC"), 0)
    for _ in range(experiments):
        x = alike(generator, prompt, 0.5)
        y = RHO * x + math.sqrt(1 - RHO**2) * alike(generator, prompt, 0.5)
        samples = samples_of(MUSIC_EVAL, x, y, prompt)
        metrics = [metric_by_name(name) for name in held]
        for name, one in metric_intervals(samples, metrics, MetricSettings(cluster=cluster), ("x",)).items():
            held[name] += one.low <= TRUE[name] <= one.high
    return {name: count / experiments for name, count in held.items()}


def test_ten_prompts_of_dependent_clips_are_covered_and_taken_for_independent_they_are_not():
    # 120 experiments have a standard error of 2 points around 95 %.
    assert all(0.9 < share < 0.995 for share in correlation_coverage("prompt", 120).values())
    assert all(share < 0.9 for share in correlation_coverage("none", 120).values())


def paired_answers(generator, prompt, accuracy):
    """Two equally good models whose answers of a prompt are alike (intra-class correlation 0.5)."""
    chance = generator.beta(accuracy, 1 - accuracy, (2, prompt.max() + 1))[:, prompt]
    return np.where(generator.random(chance.shape) < chance, 1.0, -1.0)


def accuracy_shares(cluster, experiments):
    """How often the interval holds the truth, and how often equal models are called different."""
    generator, prompt, label = np.random.default_rng(1), np.arange(200) // 8, np.ones(200)
    held = found = 0
    for _ in range(experiments):
        samples = [samples_of(MUSIC_ARENA, label, answer, prompt) for answer in paired_answers(generator, prompt, 0.7)]
        rows = clustered_rows(samples[0], MetricSettings(cluster=cluster), ("x",))
        models = [ModelMetric(metric_by_name("ACC"), one, float((one.prediction > 0).mean()), rows) for one in samples]
        interval = models[0].interval()
        held += interval.low <= 0.7 <= interval.high
        found += paired_test(*models).p <= 0.05
    return held / experiments, found / experiments


def test_pairs_that_share_prompts_are_covered_and_equal_models_stay_equal():
    held, found = accuracy_shares("prompt", 300)
    assert 0.92 < held < 0.98
    assert 0.02 < found < 0.08
    held, found = accuracy_shares("none", 300)
    assert held < 0.8
    assert found > 0.2
