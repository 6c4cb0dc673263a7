"""The scores row by row, as a table."""

from recorded_runs import ROWS, outcome
from scored_rows import clip

from cmi_bench.config import MetricSettings
from cmi_bench.evaluation.evaluate import evaluate
from cmi_bench.tracking import row_table as module
from cmi_bench.tracking.row_table import row_table


def test_each_evaluated_row_has_its_labels_predictions_and_scores():
    table = outcome().row_table
    assert {len(column) for column in table.values()} == {6}
    assert table["dataset"] == ["MusicEval"] * 4 + ["MusicArena"] * 2
    assert table["row"] == [1, 2, 3, 4, 5, 6]
    assert table["label musicality"] == [1.0, 2.0, 3.0, 4.0, None, None]
    assert table["prediction musicality"] == [0.1, 0.3, 0.2, 0.4, None, None]
    assert table["label preference"][4:] == [1.0, 1.0]
    assert table["prediction preference"][4:] == [1.0, -1.0]
    assert table["musicality B"] == [None, None, None, None, 0.1, 1.0]
    assert table["clip B"][:5] == ["", "", "", "", "MusicArena_data/audio_files/01-2025JULAUG/b.mp3"]


def test_a_table_is_bounded_in_rows_and_in_the_length_of_texts(monkeypatch):
    monkeypatch.setattr(module, "MAX_ROWS", 3)
    rows = [clip(2.0, 0.5, prompt="x" * 1000, inference_error="no audio"), *ROWS]
    table = row_table(rows, evaluate(rows, MetricSettings(resamples=0)).samples)
    assert table["row"] == [1, 2, 3]
    assert len(table["prompt"][0]) == 200
    assert table["failure"] == ["no audio", "", ""]
