"""Metrics against definitions written out, with ties; and a fourth correlation registered from outside."""

import itertools
import math
import warnings

import numpy as np
import pytest
from registries import restored_registries

from cmi_bench.config import MetricSettings, ProtocolName
from cmi_bench.data.datasets import (
    Dataset,
    Grouping,
    MosTask,
    PairTask,
    all_datasets,
    dataset_by_slug,
    register_dataset,
)
from cmi_bench.errors import UserError
from cmi_bench.evaluation import metrics as metrics_module
from cmi_bench.evaluation.evaluate import evaluate
from cmi_bench.evaluation.metrics import (
    Metric,
    MetricKey,
    Shown,
    Statistic,
    accuracy,
    all_metrics,
    credit,
    kendall,
    metric_by_name,
    metrics_of,
    pearson,
    register_metric,
    spearman,
)
from cmi_bench.evaluation.protocols import preferred_side
from cmi_bench.types import Aspect

A, BOTH, B = 1.0, 0.0, -1.0


@pytest.mark.parametrize(("label", "prediction"), itertools.product([A, BOTH, B], repeat=2))
def test_credit_is_the_tables_rule(label, prediction):
    expected = 1.0 if label == prediction else 0.5 if BOTH in (label, prediction) else 0.0
    assert credit(np.array([label]), np.array([prediction])) == [expected]


@pytest.mark.parametrize("label", [A, BOTH, B])
def test_a_failure_gets_no_credit_even_against_both(label):
    assert credit(np.array([label]), np.array([np.nan])) == [0.0]


def test_accuracy_is_the_mean_credit():
    assert accuracy(np.array([A, B, BOTH, A]), np.array([A, A, A, np.nan])).value == pytest.approx(1.5 / 4)
    assert accuracy(np.array([]), np.array([])) == (None, "no row")


@pytest.mark.parametrize(
    ("scores", "strict", "paper"),
    [
        ((2.0, 1.0), "model_a", "model_a"),
        ((1.0, 2.0), "model_b", "model_b"),
        ((1.0, 1.0), "both", "model_b"),
        ((0.0, -0.0), "both", "model_b"),
        ((np.nan, 1.0), None, None),
        ((1.0, np.inf), None, None),
    ],
)
def test_the_higher_score_is_preferred_and_the_protocol_decides_ties(scores, strict, paper):
    assert preferred_side(*scores, protocol=ProtocolName.strict) == strict
    assert preferred_side(*scores, protocol=ProtocolName.paper) == paper


CORRELATIONS = [spearman, pearson, kendall]


def pearson_by_hand(x, y):
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    products = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return products / math.sqrt(sum((a - mean_x) ** 2 for a in x) * sum((b - mean_y) ** 2 for b in y))


def mean_ranks(values):
    return [
        sum(other < value for other in values) + (sum(other == value for other in values) + 1) / 2 for value in values
    ]


def kendall_by_hand(x, y):
    pairs = list(itertools.combinations(zip(x, y, strict=True), 2))
    sign = [np.sign(a[0] - b[0]) * np.sign(a[1] - b[1]) for a, b in pairs]
    untied_x = sum(a[0] != b[0] for a, b in pairs)
    untied_y = sum(a[1] != b[1] for a, b in pairs)
    return sum(sign) / math.sqrt(untied_x * untied_y)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("decimals", [0, 1, 6])
def test_against_the_definitions_with_many_few_and_no_ties(seed, decimals):
    generator = np.random.default_rng(seed)
    label = np.round(generator.uniform(1, 5, 25), decimals)
    prediction = np.round(label + generator.normal(0, 1, 25), decimals)
    x, y = label.tolist(), prediction.tolist()
    assert pearson(label, prediction).value == pytest.approx(pearson_by_hand(x, y), abs=1e-12)
    assert spearman(label, prediction).value == pytest.approx(pearson_by_hand(mean_ranks(x), mean_ranks(y)), abs=1e-12)
    assert kendall(label, prediction).value == pytest.approx(kendall_by_hand(x, y), abs=1e-12)


@pytest.mark.parametrize("correlation", CORRELATIONS)
@pytest.mark.parametrize("slope", [1, -1])
def test_a_straight_line_is_one(correlation, slope):
    label = np.array([1.0, 2.0, 2.5, 4.0])
    assert correlation(label, slope * label).value == pytest.approx(slope)
    assert correlation(label[:2], slope * label[:2]).value == pytest.approx(slope)


@pytest.mark.parametrize("correlation", CORRELATIONS)
@pytest.mark.parametrize(
    ("label", "prediction", "reason"),
    [
        ([], [], "no row"),
        ([3.0], [1.0], "one row only"),
        ([1.0, 2.0, 3.0], [0.5, 0.5, 0.5], "constant prediction"),
        ([2.0, 2.0, 2.0], [0.1, 0.2, 0.3], "constant label"),
    ],
)
def test_undefined_says_why_and_warns_of_nothing(correlation, label, prediction, reason):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        statistic = correlation(np.array(label), np.array(prediction))
    assert statistic == (None, reason)


@pytest.mark.parametrize("correlation", CORRELATIONS)
def test_nearly_constant_and_huge_values_warn_of_nothing(correlation):
    label = np.array([1.0, 2.0, 3.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for prediction in (1.0 + np.array([0, 1, 2]) * 2.3e-16, np.array([-1.7e308, 0.0, 1.7e308])):
            statistic = correlation(label, prediction)
            assert (statistic.value is None) == bool(statistic.reason)


def test_infinite_scores_have_a_rank_and_no_line():
    label, prediction = np.array([1.0, 2.0, 3.0]), np.array([-np.inf, 0.0, np.inf])
    assert spearman(label, prediction).value == pytest.approx(1.0)
    assert kendall(label, prediction).value == pytest.approx(1.0)
    assert pearson(label, prediction) == (None, "an infinite score")


FIFTH = Dataset(
    name="Fifth",
    slug="fifth",
    tasks=(MosTask("alignment", Aspect.ALIGNMENT, "fit"),),
    owns_source=lambda source: source == "fifth",
    groupings=(Grouping("genre", "by_condition", lambda raw: raw.get("genre")),),
)


def one_minus_error(label, prediction):
    return Statistic(1.0 - float(np.abs(label - prediction).mean()))


@pytest.fixture
def registered():
    with restored_registries():
        register_dataset(FIFTH)
        register_metric(Metric("1-MAE", MosTask, one_minus_error))
        yield


def fifth_rows(n=12):
    return [
        {"source": "fifth", "split": "test", "genre": "jazz" if i % 2 else "rock", "fit": 1 + i % 5,
         "prompt": f"p{i}", "audio-path": f"{i}.wav", "predicted_text-music alignment": 1 + i % 5 + 0.1 * (-1) ** i,
         "inference_valid_a": True}
        for i in range(n)
    ]  # fmt: skip


@pytest.mark.usefixtures("registered")
def test_both_are_in_the_summary_with_intervals():
    (record,) = evaluate(fifth_rows(), MetricSettings(resamples=50)).summary
    assert (record.dataset, record.task, record.n) == ("Fifth", "alignment", 12)
    assert list(record.metrics) == ["SRCC", "LCC", "K-Tau", "1-MAE"]
    assert record.metrics["1-MAE"] == pytest.approx(0.9)
    assert record.intervals["1-MAE"].low == pytest.approx(0.9)


@pytest.mark.usefixtures("registered")
def test_the_groups_are_those_of_the_declaration():
    detail = evaluate(fifth_rows(), MetricSettings(resamples=0)).detail
    assert [(one.group_key, one.group_value, one.n) for one in detail] == [("genre", "jazz", 6), ("genre", "rock", 6)]
    assert evaluate(fifth_rows(), MetricSettings(resamples=0, by_condition=False)).detail == []


@pytest.mark.usefixtures("registered")
def test_they_are_found_by_name_and_come_last():
    assert all_datasets()[-1] is dataset_by_slug("fifth") is FIFTH
    assert all_metrics()[-1] is metric_by_name("1-MAE")
    assert metrics_of(FIFTH.tasks[0], Shown.DETAIL) == (metric_by_name("SRCC"),)
    assert str(MetricKey("Fifth", "alignment", "1-MAE")) == "Fifth/alignment/1-MAE"


@pytest.mark.usefixtures("registered")
def test_unknown_names_are_answered_with_near_ones():
    with pytest.raises(UserError, match="Did you mean fifth"):
        dataset_by_slug("fith")
    with pytest.raises(UserError, match="Did you mean SRCC"):
        metric_by_name("SRC")


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"slug": "other"}, "'Fifth'"),
        ({"name": "A/B", "slug": "ab"}, "cannot be a name"),
        ({"name": "Sixth", "slug": "sixth", "tasks": ()}, "no task"),
        (
            {"name": "Sixth", "slug": "sixth", "groupings": (Grouping("g", "by_genre", lambda raw: None),)},
            "'by_genre' is no setting",
        ),
    ],
)
def test_a_declaration_that_cannot_work_is_refused(changes, says):
    fields = {"name": "Fifth", "slug": "fifth", "tasks": FIFTH.tasks, "owns_source": FIFTH.owns_source} | changes
    with pytest.raises(ValueError, match=says):
        register_dataset(Dataset(**fields))


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(
    ("metric", "says"),
    [
        (Metric("SRCC", MosTask, one_minus_error), "already"),
        (Metric("a/b", MosTask, one_minus_error), "cannot be a name"),
        (Metric("ACC2", PairTask, one_minus_error, switch="include_acc"), "no setting"),
    ],
)
def test_a_metric_that_cannot_work_is_refused(metric, says):
    with pytest.raises(ValueError, match=says):
        register_metric(metric)


@pytest.mark.parametrize("levels", [2, 9, 10**6])
def test_ranks_of_many_rows_are_correlated_as_those_of_few(monkeypatch, levels):
    label, prediction = np.random.default_rng(levels).integers(0, levels, (2, 501)).astype(float)
    prediction[:9] = np.inf
    of_few = spearman(label, prediction).value
    monkeypatch.setattr(metrics_module, "MANY_ROWS", 500)
    assert spearman(label, prediction).value == pytest.approx(of_few, abs=1e-14)
    assert spearman(label, label * 2.0).value == pytest.approx(1.0, abs=1e-15)
    assert spearman(label, np.ones(501)).value is None
