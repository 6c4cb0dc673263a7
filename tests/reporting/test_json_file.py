import json
import math

import pytest

from cmi_bench.reporting.metrics import metrics_json


def strict(text):
    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_metrics_that_have_no_value_are_null_and_those_of_other_tasks_absent(evaluation):
    constant, fine, not_applicable, pairs = strict(metrics_json(evaluation))["summary"]
    assert constant["SRCC"] is None
    assert "ACC" not in fine
    assert not_applicable["ACC"] is None
    assert "SRCC" not in pairs
    assert (pairs["n"], pairs["n_failed"], pairs["ACC"]) == (3, 1, 0.5)


def test_groups_and_notes_are_in_it(evaluation):
    document = strict(metrics_json(evaluation))
    assert list(document) == ["config", "summary", "detail", "notes"]
    assert document["notes"] == evaluation.notes
    by_key = {record["group_key"]: record for record in document["detail"]}
    assert by_key["confidence"]["ref_category"] == "all"
    assert "ref_category" not in by_key["modality"]


def test_the_configuration_given_is_written_as_it_is(evaluation):
    assert strict(metrics_json(evaluation, {"run": "ä"}))["config"] == {"run": "ä"}
    assert strict(metrics_json(evaluation))["config"]["metrics"]["protocol"] == "strict"


def test_a_configuration_that_is_no_json_is_refused(evaluation):
    with pytest.raises(ValueError, match="not JSON compliant"):
        metrics_json(evaluation, {"x": math.nan})
