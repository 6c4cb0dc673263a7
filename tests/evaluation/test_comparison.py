"""Which differences are found, and which are not."""

import itertools

import numpy as np
import pytest
import scipy.stats
from full_size import full_size_rows
from scored_rows import arena, clips
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from cmi_bench.config import MetricSettings
from cmi_bench.evaluation.comparison import bootstrap_p, compare_runs, holm, significance_groups
from cmi_bench.evaluation.evaluate import evaluate
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
        assert (difference.value, difference.p, difference.p_bootstrap, difference.p_holm) == (0, 1, 1, 1)
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


def test_accuracy_is_tested_by_mcnemars_exact_test():
    first, second = set(range(120)), set(range(20, 160))
    (difference,) = only(compare(a=answers(first), b=answers(second))).differences
    both, neither = len(first & second), 200 - len(first | second)
    table = [[both, len(first - second)], [len(second - first), neither]]
    assert (difference.better, difference.worse, difference.test) == (20, 40, "exact McNemar")
    assert difference.p == pytest.approx(mcnemar(table, exact=True).pvalue, abs=1e-12)
    assert difference.value == pytest.approx(-0.1)
    # The bootstrap of the same thing agrees.
    assert difference.p_bootstrap == pytest.approx(difference.p, abs=0.02)
    assert difference.interval.low < -0.1 < difference.interval.high


def test_half_credits_make_it_a_sign_test():
    ties = [arena("A", 0.5, 0.5, **{"audio-path": f"{i}.mp3"}) for i in range(30)]
    (difference,) = only(compare(tied=ties, wrong=answers(set(), 30))).differences
    assert (difference.test, difference.better, difference.worse) == ("sign test", 30, 0)
    assert difference.value == 0.5
    assert difference.p == pytest.approx(scipy.stats.binomtest(30, 30).pvalue)


def test_failures_count_as_wrong_answers():
    failed = [row | {"predicted_musicality": None} for row in answers(set(range(50)), 50)]
    (difference,) = only(compare(fine=answers(set(range(50)), 50), failed=failed)).differences
    assert (difference.value, difference.better) == (1.0, 50)


def correlated(seed, noise, n=120):
    labels = np.random.default_rng(0).uniform(1, 5, n).round(1)
    scores = labels + np.random.default_rng(seed).normal(0, noise, n)
    return [row | {"audio-path": f"{i}.wav"} for i, row in enumerate(clips(labels.tolist(), scores.tolist()))]


@pytest.mark.parametrize("metric", ["SRCC", "LCC", "K-Tau"])
def test_correlations_are_tested_by_the_paired_bootstrap(metric):
    oracle = {"SRCC": scipy.stats.spearmanr, "LCC": scipy.stats.pearsonr, "K-Tau": scipy.stats.kendalltau}[metric]
    first, second = correlated(1, 1.0), correlated(2, 1.4)
    (difference,) = only(compare(MetricSettings(), a=first, b=second), metric).differences
    label, one, two = (
        np.array([row[field] for row in rows])
        for rows, field in ((first, "musicality"), (first, "predicted_musicality"), (second, "predicted_musicality"))
    )
    theirs = scipy.stats.bootstrap(
        (label, one, two),
        lambda x, y, z: oracle(x, y).statistic - oracle(x, z).statistic,
        paired=True,
        vectorized=False,
        n_resamples=1000,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    assert difference.test == "paired bootstrap"
    assert difference.interval.low == pytest.approx(theirs.confidence_interval.low, abs=0.02)
    assert difference.interval.high == pytest.approx(theirs.confidence_interval.high, abs=0.02)
    share = (theirs.bootstrap_distribution <= 0).mean()
    assert difference.p == pytest.approx(2 * min(share, 1 - share), abs=0.04)


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


def test_holm_is_over_all_pairs_and_tasks_of_a_dataset():
    runs = {f"seed{seed}": full_size_rows(1 + seed / 4, seed=seed) for seed in range(3)}
    comparison = compare(**runs)
    of_dataset = [one for one in comparison.metric_comparisons if one.dataset == "CMI-Pref"]
    differences = [difference for metric_comparison in of_dataset for difference in metric_comparison.differences]
    assert len(differences) == of_dataset[0].family_size == 6
    expected = multipletests([one.p for one in differences], method="holm")[1]
    assert [one.p_holm for one in differences] == pytest.approx(expected, abs=1e-12)
    assert {one.family_size for one in comparison.metric_comparisons if one.dataset == "PAM"} == {6}
    assert {one.family_size for one in comparison.metric_comparisons if one.dataset == "MusicEval"} == {3}


def test_rows_that_failed_in_one_run_are_left_out_for_all_and_said():
    first, second = correlated(1, 1.0), correlated(2, 1.0)
    second[3] = second[3] | {"predicted_musicality": None, "inference_valid_a": False}
    metric_comparison = only(compare(fine=first, flaky=second), "SRCC")
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


def test_too_few_rows_allow_no_bootstrap_and_say_so():
    (difference,) = only(compare(a=correlated(1, 1.0, 2), b=correlated(2, 1.0, 2)), "SRCC").differences
    assert (difference.p, difference.p_holm, difference.interval.low) == (None, None, None)
    one = only(compare(a=answers({0}, 1), b=answers(set(), 1)))
    assert one.differences[0].interval.reason == "one row only"
    assert one.differences[0].p == 1.0


def test_more_comparisons_than_the_resamples_can_tell_apart_are_warned_of():
    runs = {f"r{seed}": correlated(seed, 1.0, 30) for seed in range(8)}
    (note,) = compare(MetricSettings(resamples=200), **runs).notes
    assert note.startswith("28 comparisons are corrected together")
    assert "metrics.resamples=1121 would be enough" in note
    assert compare(MetricSettings(resamples=1121), **runs).notes == ()


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


def test_bootstrap_p_counts_the_rarer_side_of_nothing():
    values = np.array([1.0] * 95 + [-1.0] * 4 + [np.nan] * 7)
    assert bootstrap_p(values) == pytest.approx(2 * 5 / 100)
    assert bootstrap_p(-values) == bootstrap_p(values)


def test_bootstrap_p_is_never_nothing_and_never_more_than_one():
    assert bootstrap_p(np.ones(999)) == pytest.approx(2 / 1000)
    assert bootstrap_p(np.zeros(999)) == 1.0
