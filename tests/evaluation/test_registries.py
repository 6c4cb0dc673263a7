"""A fifth dataset and a fourth correlation, registered from outside the package, are evaluated like the others."""

import numpy as np
import pytest
from registries import restored_registries

from cmi_bench.config import MetricSettings
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
from cmi_bench.evaluation.evaluate import evaluate
from cmi_bench.evaluation.metrics import (
    Metric,
    MetricKey,
    Shown,
    Statistic,
    all_metrics,
    metric_by_name,
    metrics_of,
    register_metric,
)
from cmi_bench.types import Aspect

FIFTH = Dataset(
    name="Fifth",
    slug="fifth",
    tasks=(MosTask("alignment", Aspect.ALIGNMENT, "fit"),),
    owns_source=lambda source: source == "fifth",
    groupings=(Grouping("genre", "by_condition", lambda raw: raw.get("genre")),),
)


def one_minus_error(label, prediction):
    return Statistic(1.0 - float(np.abs(label - prediction).mean()))


@pytest.fixture(autouse=True)
def registered():
    with restored_registries():
        register_dataset(FIFTH)
        register_metric(Metric("1-MAE", MosTask, one_minus_error))
        yield


def rows(n=12):
    return [
        {"source": "fifth", "split": "test", "genre": "jazz" if i % 2 else "rock", "fit": 1 + i % 5,
         "prompt": f"p{i}", "audio-path": f"{i}.wav", "predicted_text-music alignment": 1 + i % 5 + 0.1 * (-1) ** i,
         "inference_valid_a": True}
        for i in range(n)
    ]  # fmt: skip


def test_both_are_in_the_summary_with_intervals():
    (record,) = evaluate(rows(), MetricSettings(resamples=50)).summary
    assert (record.dataset, record.task, record.n) == ("Fifth", "alignment", 12)
    assert list(record.metrics) == ["SRCC", "LCC", "K-Tau", "1-MAE"]
    assert record.metrics["1-MAE"] == pytest.approx(0.9)
    assert record.intervals["1-MAE"].low == pytest.approx(0.9)


def test_the_groups_are_those_of_the_declaration():
    detail = evaluate(rows(), MetricSettings(resamples=0)).detail
    assert [(one.group_key, one.group_value, one.n) for one in detail] == [("genre", "jazz", 6), ("genre", "rock", 6)]
    assert evaluate(rows(), MetricSettings(resamples=0, by_condition=False)).detail == []


def test_they_are_found_by_name_and_come_last():
    assert all_datasets()[-1] is dataset_by_slug("fifth") is FIFTH
    assert all_metrics()[-1] is metric_by_name("1-MAE")
    assert metrics_of(FIFTH.tasks[0], Shown.DETAIL) == (metric_by_name("SRCC"),)
    assert str(MetricKey("Fifth", "alignment", "1-MAE")) == "Fifth/alignment/1-MAE"


def test_unknown_names_are_answered_with_near_ones():
    with pytest.raises(UserError, match="Did you mean fifth"):
        dataset_by_slug("fith")
    with pytest.raises(UserError, match="Did you mean SRCC"):
        metric_by_name("SRC")


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


def test_the_slow_form_of_a_weighted_metric_is_the_quick_one():
    generator = np.random.default_rng(0)
    label, prediction, cluster = generator.normal(size=20), generator.normal(size=20), np.arange(20) // 2
    weights = generator.multinomial(10, [0.1] * 10, size=30).T * 1.0
    quick = metric_by_name("K-Tau")
    slow = Metric("slow", MosTask, quick.value)
    np.testing.assert_allclose(
        slow.weighted_over(label, prediction, cluster)(weights),
        quick.weighted_over(label, prediction, cluster)(weights),
        atol=1e-12,
    )
