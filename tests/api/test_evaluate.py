"""`cmi_bench.evaluate`: the metrics of a results file, as the benchmark has them."""

import json
from pathlib import Path

import pytest

from cmi_bench import MetricSettings, evaluate
from cmi_bench.errors import UserError

RESULTS = Path(__file__).parents[1] / "data" / "parity" / "evaluation" / "results.jsonl"


def test_a_file_its_folder_and_its_rows_are_the_same():
    settings = MetricSettings(resamples=0)
    rows = [json.loads(line) for line in RESULTS.read_text().splitlines()]
    first, *others = (evaluate(one, settings).summary for one in (RESULTS, str(RESULTS.parent), rows, iter(rows)))
    assert first
    assert all(first == other for other in others)


def test_protocols():
    found = {
        protocol: evaluate(RESULTS, MetricSettings(protocol=protocol, resamples=0)).summary
        for protocol in ("strict", "paper")
    }
    assert {record.protocol for record in found["paper"]} == {"paper"}
    assert found["strict"] != found["paper"]


@pytest.mark.parametrize(("content", "says"), [(None, "does not exist"), ("", "is empty"), ("{", "not JSON")])
def test_mistakes(tmp_path, content, says):
    path = tmp_path / "results.jsonl"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=says):
        evaluate(path)
