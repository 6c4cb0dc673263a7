"""The paper protocol against the public evaluator's own files (see tests/data/parity/evaluation)."""

import csv
import json
from pathlib import Path

import pytest
import yaml

from cmi_bench.config import MetricSettings
from cmi_bench.data.audio_info import read_durations
from cmi_bench.data.rows import read_jsonl
from cmi_bench.evaluation.evaluate import evaluate
from cmi_bench.reporting.metrics import write_reports

BUNDLE = Path(__file__).parents[1] / "data" / "parity" / "evaluation"
LABEL = "evalpub"
TOLERANCE = 1e-9


def settings():
    config = yaml.safe_load((BUNDLE / "eval_config.yaml").read_text())
    groups = config["groups"]
    return MetricSettings(
        protocol="paper",
        split=config["filter"]["split"],
        **config["metrics"],
        by_month=groups["musicarena_by_month"],
        by_condition=groups["cmi_by_modality"],
        by_confidence=groups["cmi_by_confidence"],
        by_duration=groups["by_duration"],
        duration_bins=groups["duration_bin"],
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    rows = [line.value for line in read_jsonl(BUNDLE / "results.jsonl")]
    evaluation = evaluate(rows, settings(), durations=read_durations(BUNDLE / "durations.json"))
    return write_reports(evaluation, tmp_path_factory.mktemp("parity"), label=LABEL)


def read_csv(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def same_cell(ours, theirs):
    try:
        return float(ours) == pytest.approx(float(theirs), abs=TOLERANCE)
    except ValueError:
        return ours == theirs


@pytest.mark.parametrize(
    ("path", "name"), [("summary_csv", "metrics_summary.csv"), ("detail_csv", "metrics_detail.csv")]
)
def test_the_tables_hold_the_same_lines_in_the_same_order(written, path, name):
    ours, theirs = read_csv(getattr(written, path)), read_csv(BUNDLE / name)
    columns = list(theirs[0])
    assert list(ours[0])[: len(columns)] == columns
    assert len(ours) == len(theirs)
    differing = [
        (number, column, row[column], expected[column])
        for number, (row, expected) in enumerate(zip(ours, theirs, strict=True), start=1)
        for column in columns
        if not same_cell(row[column], expected[column])
    ]
    assert differing == []


@pytest.mark.parametrize("part", ["summary", "detail"])
def test_the_json_holds_the_same_records(written, part):
    ours, theirs = (json.loads(path.read_text())[part] for path in (written.json, BUNDLE / "metrics.json"))
    public_keys = {key for record in theirs for key in record}
    for record, expected in zip(ours, theirs, strict=True):
        assert {key: record[key] for key in record if key in public_keys} == pytest.approx(expected, abs=TOLERANCE)


def test_the_json_says_the_same_configuration(written):
    ours, theirs = (json.loads(path.read_text())["config"] for path in (written.json, BUNDLE / "metrics.json"))
    for section in ("filter", "metrics", "groups"):
        assert {key: ours[section][key] for key in theirs[section]} == theirs[section]


def test_the_latex_is_the_same_text(written):
    assert written.latex.read_text() == (BUNDLE / "latex.txt").read_text()
