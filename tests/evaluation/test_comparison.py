"""Which differences are found, and which are not."""

import itertools

import numpy as np
import pytest
import scipy.stats
from full_size import full_size_rows
from registries import restored_registries
from scored_rows import arena, clips
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from cmi_bench.config import MetricSettings
from cmi_bench.data.datasets import MosTask
from cmi_bench.evaluation.comparison import compare_runs, holm, significance_groups
from cmi_bench.evaluation.evaluate import evaluate
from cmi_bench.evaluation.metrics import Metric, Statistic, register_metric
from cmi_bench.evaluation.pairing import Run

SETTINGS = MetricSettings(resamples=1000)


def compare(settings=SETTINGS, alpha=0.05, **rows_of):
    return compare_runs([Run(label, rows, label) for label, rows in rows_of.items()], settings, alpha=alpha)


def only(comparison, metric="ACC"):
    (metric_comparison,) = [
        metric_comparison for metric_comparison in comparison.metric_comparisons if metric_comparison.metric == metric
    ]
    return metric_comparison


def groups_of(metric_comparison):
    return {one.run: one.significance_group for one in metric_comparison.standings}


def answers(right, n=200, **more):
    """Pairs of which those in `right` are answered as people did."""
    return [arena("A", int(i in right), 0.5, **{"audio-path": f"{i}.mp3"}, **more) for i in range(n)]


def test_identical_runs_do_not_differ():
    rows = full_size_rows()[::9]
    comparison = compare(one=rows, two=rows)
    assert len(comparison.metric_comparisons) == 12
    for metric_comparison in comparison.metric_comparisons:
        (difference,) = metric_comparison.differences
        assert (difference.value, difference.p, difference.p_holm) == (0, 1, 1)
        assert (difference.interval.low, difference.interval.high) == (0, 0)
        assert groups_of(metric_comparison) == {"one": "a", "two": "a"}
    assert comparison.disagreements == ()


def test_a_clearly_better_run_is_found_everywhere():
    comparison = compare(weak=full_size_rows(0.2, seed=1), strong=full_size_rows(2.0, seed=2))
    for metric_comparison in comparison.metric_comparisons:
        assert [one.run for one in metric_comparison.standings] == ["strong", "weak"]
        assert groups_of(metric_comparison) == {"strong": "a", "weak": "b"}
        (difference,) = metric_comparison.differences
        assert (
            difference.value
            == metric_comparison.difference("weak", "strong")
            == -metric_comparison.difference("strong", "weak")
        )
        assert difference.interval.high < 0
        assert difference.p_holm < 0.05


def test_accuracy_is_tested_by_sign_flips_with_mcnemars_exact_test_beside():
    first, second = set(range(120)), set(range(20, 160))
    (difference,) = only(compare(a=answers(first), b=answers(second))).differences
    both, neither = len(first & second), 200 - len(first | second)
    table = [[both, len(first - second)], [len(second - first), neither]]
    exact = mcnemar(table, exact=True).pvalue
    assert (difference.better, difference.worse, difference.test) == (20, 40, "sign flip")
    assert difference.p_mcnemar == pytest.approx(exact, abs=1e-12)
    # Of single rows the flips are McNemar's, with half of what was observed.
    assert difference.p == pytest.approx(exact - scipy.stats.binom.pmf(20, 60, 0.5), abs=1e-12)
    assert difference.value == pytest.approx(-0.1)
    assert difference.interval.low < -0.1 < difference.interval.high < 0


def test_rows_of_a_prompt_are_no_independent_evidence():
    def alike(right):
        return [row | {"prompt": f"p{i // 10}"} for i, row in enumerate(answers(right))]

    # Seven prompts of ten rows for the one, two for the other.
    (difference,) = only(compare(a=alike(set(range(70))), b=alike(set(range(70, 90))))).differences
    assert difference.p_mcnemar < 1e-6
    assert difference.p == pytest.approx(2 * scipy.stats.binom.cdf(2, 9, 0.5) - scipy.stats.binom.pmf(2, 9, 0.5))
    assert difference.interval.low < 0 < difference.interval.high


def test_half_credits_are_half_as_much():
    ties = [arena("A", 0.5, 0.5, **{"audio-path": f"{i}.mp3"}) for i in range(30)]
    (difference,) = only(compare(tied=ties, wrong=answers(set(), 30))).differences
    assert (difference.test, difference.better, difference.worse) == ("sign flip", 30, 0)
    assert difference.value == 0.5
    assert difference.p == pytest.approx(2**-30)
    assert difference.p_mcnemar == pytest.approx(scipy.stats.binomtest(30, 30).pvalue)


def test_failures_count_as_wrong_answers():
    failed = [row | {"predicted_musicality": None} for row in answers(set(range(50)), 50)]
    (difference,) = only(compare(fine=answers(set(range(50)), 50), failed=failed)).differences
    assert (difference.value, difference.better) == (1.0, 50)


def correlated(seed, noise, n=120):
    labels = np.random.default_rng(0).uniform(1, 5, n).round(1)
    scores = labels + np.random.default_rng(seed).normal(0, noise, n)
    return [row | {"audio-path": f"{i}.wav"} for i, row in enumerate(clips(labels.tolist(), scores.tolist()))]


@pytest.mark.parametrize("metric", ["SRCC", "LCC", "K-Tau"])
def test_correlations_are_tested_by_the_jackknife_on_fishers_scale(metric):
    oracle = {"SRCC": scipy.stats.spearmanr, "LCC": scipy.stats.pearsonr, "K-Tau": scipy.stats.kendalltau}[metric]
    first, second = correlated(1, 1.0, 40), correlated(2, 1.8, 40)
    (difference,) = only(compare(a=first, b=second), metric).differences
    label, one, two = (
        np.array([row[field] for row in rows])
        for rows, field in ((first, "musicality"), (first, "predicted_musicality"), (second, "predicted_musicality"))
    )

    def apart(rows):
        return np.arctanh(oracle(label[rows], one[rows]).statistic) - np.arctanh(
            oracle(label[rows], two[rows]).statistic
        )

    left_out = np.array([apart(np.arange(40) != row) for row in range(40)])
    error = 39 / 40 * np.sqrt(np.square(left_out - left_out.mean()).sum())
    statistic = apart(np.arange(40)) / error
    assert difference.test == "jackknife t"
    assert difference.p == pytest.approx(2 * scipy.stats.t.sf(abs(statistic), 39), rel=1e-6)
    assert difference.value == pytest.approx(oracle(label, one).statistic - oracle(label, two).statistic)
    assert difference.interval.low < difference.value < difference.interval.high
    assert (difference.interval.low > 0) == (difference.p < 0.05)
    assert difference.p_mcnemar is None


def test_pairing_finds_what_two_separate_intervals_do_not():
    labels = correlated(1, 1.2)
    nudged = [
        row | {"predicted_musicality": row["predicted_musicality"] * 0.8 + row["musicality"] * 0.2} for row in labels
    ]
    metric_comparison = only(compare(plain=labels, nudged=nudged), "SRCC")
    best, other = metric_comparison.standings
    assert best.interval.low < other.interval.high
    assert groups_of(metric_comparison) == {"nudged": "a", "plain": "b"}


def test_the_same_scores_on_another_scale_do_not_differ():
    rows = correlated(1, 1.0)
    scaled = [row | {"predicted_musicality": row["predicted_musicality"] * 0.1 + 3e5} for row in rows]
    for metric_comparison in compare(a=rows, b=scaled).metric_comparisons:
        assert metric_comparison.differences[0].value == pytest.approx(0, abs=1e-9)
    assert only(compare(a=rows, b=scaled), "SRCC").differences[0].p == 1.0


def test_a_run_stands_as_in_its_own_evaluation():
    rows = full_size_rows(seed=4)[::7]
    metric_comparisons = compare(one=rows, two=full_size_rows(seed=5)[::7]).metric_comparisons
    own = {(record.dataset, record.task): record for record in evaluate(rows, SETTINGS).summary}
    for metric_comparison in metric_comparisons:
        standing = next(one for one in metric_comparison.standings if one.run == "one")
        record = own[metric_comparison.dataset, metric_comparison.task]
        assert (standing.value, standing.interval) == (
            record.metrics[metric_comparison.metric],
            record.intervals[metric_comparison.metric],
        )


@pytest.mark.slow
def test_holm_is_over_all_pairs_of_a_column():
    runs = {f"seed{seed}": full_size_rows(1 + seed / 4, seed=seed)[::10] for seed in range(3)}
    comparison = compare(**runs)
    for metric_comparison in comparison.metric_comparisons:
        assert metric_comparison.family_size == len(metric_comparison.differences) == 3
        expected = multipletests([one.p for one in metric_comparison.differences], method="holm")[1]
        assert [one.p_holm for one in metric_comparison.differences] == pytest.approx(expected, abs=1e-12)


def test_a_clip_that_failed_in_one_run_costs_that_run_and_is_left_out_under_paper():
    first, second = correlated(1, 1.0), correlated(1, 1.0)
    second[3] = second[3] | {"predicted_musicality": None, "inference_valid_a": False}
    metric_comparison = only(compare(fine=first, flaky=second), "SRCC")
    assert (metric_comparison.n, metric_comparison.note) == (120, "")
    assert [one.run for one in metric_comparison.standings] == ["fine", "flaky"]
    metric_comparison = only(compare(MetricSettings(protocol="paper"), fine=first, flaky=second), "SRCC")
    assert metric_comparison.n == 119
    assert metric_comparison.note == "1 row failed in flaky, left out for all"


def test_a_run_that_does_not_judge_a_task_stands_aside():
    rows = full_size_rows()[:60]
    silent = [
        {key: value for key, value in row.items() if not key.startswith("predicted_text")}
        for row in full_size_rows(seed=1)[:60]
    ]
    comparison = compare(a=rows, b=full_size_rows(seed=2)[:60], music=silent)
    alignment, musicality = comparison.metric_comparisons
    assert [one.run for one in alignment.standings if one.significance_group] and len(alignment.standings) == 2
    assert alignment.note == "music has no usable prediction here"
    assert len(musicality.standings) == 3


def test_constant_scores_have_no_standing_among_correlations():
    constant = [row | {"predicted_musicality": 1.0} for row in correlated(1, 1.0)]
    metric_comparison = only(compare(fine=correlated(1, 1.0), constant=constant), "SRCC")
    assert [(one.run, one.significance_group, one.note) for one in metric_comparison.standings] == [
        ("fine", "", ""),
        ("constant", "", "constant prediction"),
    ]
    assert metric_comparison.differences == ()


def test_too_little_to_tell_by_allows_no_test():
    (difference,) = only(compare(a=correlated(1, 1.0, 4), b=correlated(2, 1.0, 4)), "SRCC").differences
    assert (difference.p, difference.p_holm, difference.interval.low) == (None, None, None)
    (difference,) = only(compare(a=answers({0}, 9), b=answers(set(), 9))).differences
    assert (difference.p, difference.interval.reason) == (None, "too few rows to tell (9; 10 are needed)")
    # Five pairs that differ cannot be significant, however many do not.
    five, none = answers(set(range(5)), 100), answers(set(), 100)
    metric_comparison = only(compare(five=five, none=none))
    assert metric_comparison.differences[0].p is None
    assert groups_of(metric_comparison) == {"five": "", "none": ""}
    assert only(compare(six=answers(set(range(6)), 100), none=none)).differences[0].p == pytest.approx(2**-6)


def test_a_bootstrapped_metric_is_tested_and_warned_of_where_resamples_are_few():
    with restored_registries():
        register_metric(Metric("1-MAE", MosTask, lambda x, y: Statistic(1.0 - float(np.abs(x - y).mean()))))
        runs = {f"r{seed}": correlated(seed, 1.0, 30) for seed in range(8)}
        (note,) = compare(MetricSettings(resamples=100), **runs).notes
        assert note.startswith("28 comparisons are corrected together")
        assert "metrics.resamples=1121 would be enough" in note
        runs = {"good": correlated(1, 0.5, 60), "bad": correlated(2, 2.0, 60)}
        (difference,) = only(compare(MetricSettings(resamples=300), **runs), "1-MAE").differences
    assert (difference.test, difference.interval.method) == ("bootstrap", "bootstrap")
    assert difference.p < 0.05
    assert difference.interval.low > 0
    assert compare(**{f"r{seed}": correlated(seed, 1.0, 30) for seed in range(8)}).notes == ()


def test_groups_are_of_corrected_p_values():
    # The best wins 20 pairs from each of the others and loses 8: p = .025, but of three comparisons.
    best = set(range(120))
    second, third = (best - set(range(k, k + 20)) | set(range(120 + k, 128 + k)) for k in (0, 20))
    metric_comparison = only(compare(best=answers(best), second=answers(second), third=answers(third)))
    to_best = [one for one in metric_comparison.differences if "best" in (one.first, one.second)]
    assert [0.02 < one.p < 0.03 and 0.05 < one.p_holm < 0.1 for one in to_best] == [True, True]
    assert groups_of(metric_comparison) == {"best": "a", "second": "a", "third": "a"}
    two = only(compare(best=answers(best), second=answers(second)))
    assert groups_of(two) == {"best": "a", "second": "b"}


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


@pytest.mark.parametrize("p_values", [[], [0.3], [0.01, 0.04, 0.03], [0.5, 0.5, 1.0], [0.001] * 4 + [0.9, 0.02]])
def test_holm_is_that_of_statsmodels(p_values):
    expected = multipletests(p_values, method="holm")[1] if p_values else []
    assert holm(p_values) == pytest.approx(list(expected), abs=1e-12)


def test_holm_of_many():
    p_values = np.random.default_rng(0).random(60) ** 3
    assert holm(p_values.tolist()) == pytest.approx(multipletests(p_values, method="holm")[1], abs=1e-12)
