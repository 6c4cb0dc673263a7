"""What is said of an ensemble's spread."""

import json

import pytest
from member_rows import member_rows

from cmi_bench.config import MetricSettings
from cmi_bench.evaluation.evaluate import evaluate
from cmi_bench.evaluation.intervals import Interval
from cmi_bench.evaluation.uncertainty import Foretold, Sign, UncertaintyRecord
from cmi_bench.reporting.metrics import metrics_json
from cmi_bench.reporting.terminal import summary_text
from cmi_bench.reporting.uncertainty import uncertainty_notes

PAIRS = UncertaintyRecord(
    dataset="CMI-Pref",
    task="musicality",
    n=400,
    n_members=5,
    n_wrong=93,
    statistic="AUROC",
    signs={
        Sign.SPREAD: Foretold(0.589, Interval(0.518, 0.657)),
        Sign.MARGIN: Foretold(0.676, None),
        Sign.BOTH: Foretold(None, None, "no answer is wrong"),
    },
    gain=Foretold(0.0761, Interval(0.028, 0.124)),
)


def test_pairs_are_told_in_a_sentence():
    assert uncertainty_notes([PAIRS]) == [
        "CMI-Pref musicality, 5 members: wrong answers (93 of 400) are foretold with AUROC"
        " by the spread .589 [.518, .657], by the margin .676, by margin / spread undefined (no answer is wrong);"
        " gain over the margin +.076 [.028, .124]."
    ]


@pytest.fixture(scope="module")
def evaluation():
    return evaluate(member_rows(20), MetricSettings())


def test_the_table_of_an_ensemble_has_a_sentence_for_each_task(evaluation):
    text = " ".join(summary_text(evaluation).split())
    assert "PAM musicality, 5 members: spread and distance from people's ranks have SRCC" in text
    assert "CMI-Pref musicality, 5 members: wrong answers (" in text


def test_metrics_json_has_the_numbers_of_ensembles_only(evaluation):
    pam, cmi = json.loads(metrics_json(evaluation))["uncertainty"]
    assert (pam["statistic"], pam["n_wrong"], pam["gain"]) == ("SRCC", None, None)
    assert [one["sign"] for one in cmi["signs"]] == ["spread", "margin", "margin / spread"]
    record = evaluation.uncertainty[1]
    assert cmi["signs"][0]["ci_low"] == record.signs[Sign.SPREAD].interval.low
    assert cmi["gain"]["value"] == record.gain.value
    plain = [{name: value for name, value in row.items() if "_members" not in name} for row in member_rows(5)]
    assert "uncertainty" not in json.loads(metrics_json(evaluate(plain)))
