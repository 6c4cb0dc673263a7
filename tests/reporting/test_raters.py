import csv
import io
import json

from cmi_bench.config import MetricSettings
from cmi_bench.evaluation.evaluate import Evaluation
from cmi_bench.evaluation.metrics import Statistic
from cmi_bench.evaluation.raters import Ceiling, RaterRecord
from cmi_bench.reporting.metrics import metrics_json
from cmi_bench.reporting.raters import rater_notes, write_raters
from cmi_bench.reporting.terminal import summary_text

RECORD = RaterRecord(
    dataset="mine", task="musicality", n_raters=3, n_ratings=58, n_rows=20, alpha=Statistic(0.71234), level="interval",
    ceilings={"SRCC": Ceiling(0.82, 0.6, 3), "LCC": Ceiling(0.84, None, 3)},
)  # fmt: skip
UNNAMED = RaterRecord(
    dataset="mine", task="preference", n_raters=None, n_ratings=9, n_rows=1, alpha=Statistic(None, "all are the same"),
    level="nominal", ceilings={},
)  # fmt: skip


def evaluated(*records):
    return Evaluation(MetricSettings(), [], [], [], [], list(records))


def test_raters_are_told_in_sentences():
    assert rater_notes([RECORD, UNNAMED]) == [
        "mine musicality: 3 raters, 58 labels of 20 rows that two or more judged. Their agreement: Krippendorff's alpha"
        " .712 (interval).",
        "mine musicality, human ceiling: one rater against the others' mean: SRCC .820, LCC .840. The model against the"
        " same: SRCC .600.",
        "mine preference: several raters without names, 9 labels of 1 row that two or more judged. Their agreement:"
        " Krippendorff's alpha undefined (all are the same) (nominal).",
    ]
    assert "Krippendorff's alpha .712" in summary_text(evaluated(RECORD), width=200)


def test_files_have_raters_only_where_there_are_several(tmp_path):
    (file,) = write_raters(evaluated(RECORD, UNNAMED), tmp_path)
    lines = list(csv.DictReader(io.StringIO(file.read_text())))
    assert [(line["task"], line["metric"], line["one_rater"]) for line in lines] == [
        ("musicality", "SRCC", "0.82"), ("musicality", "LCC", "0.84"), ("preference", "", ""),
    ]  # fmt: skip
    assert json.loads(metrics_json(evaluated(RECORD)))["raters"][0]["alpha"] == 0.71234
    assert "raters" not in json.loads(metrics_json(evaluated()))
    assert write_raters(evaluated(), tmp_path) == []
    assert not file.exists()
