"""`Results`: what a REPL and a notebook show, the table, the files."""

import math

import pytest
from scored_rows import HOSTILE, arena, clips

from cmi_bench import MetricSettings, evaluate


@pytest.fixture(scope="module")
def results():
    rows = clips([1.0, 2.0, 3.0, 4.0], [0.1, 0.2, 0.4, 0.3], prompt="p")
    pairs = [arena("model_b" if at % 3 else "model_a", 0.0, 1.0, prompt=f"p{at}") for at in range(30)]
    return evaluate([*rows, *pairs], MetricSettings(resamples=100))


def test_representations_are_short(results):
    shown = [results, results.summary, results.detail, results.samples, results.settings]
    assert all(len(repr(one)) < 800 for one in shown)
    assert repr(results).splitlines() == [
        "<Results, protocol strict, groups: 1, notes: 0",
        "  MusicEval musicality (n=4): SRCC 0.8000, LCC 0.8000, K-Tau 0.6667",
        "  MusicArena preference (n=30): ACC 0.6667>",
    ]
    assert repr(results.detail) == "[<DetailRecord MusicArena preference, month 01-2025JULAUG (n=30): ACC 0.6667>]"


def test_the_table_has_a_line_for_each_metric(results):
    table = results.to_dataframe()
    assert table[["dataset", "task", "metric", "n", "status"]].values.tolist() == [
        *(["MusicEval", "musicality", metric, 4, "ok"] for metric in ("SRCC", "LCC", "K-Tau")),
        ["MusicArena", "preference", "ACC", 30, "ok"],
    ]
    assert table.value.tolist() == pytest.approx([0.8, 0.8, 2 / 3, 2 / 3])
    interval = results.summary[1].intervals["ACC"]
    assert (table.ci_low[3], table.ci_high[3]) == (interval.low, interval.high)
    assert interval.low < 2 / 3 < interval.high
    (group,) = results.to_dataframe(groups=True).to_dict("records")
    assert (group["group_key"], group["group_value"], group["metric"]) == ("month", "01-2025JULAUG", "ACC")


def test_what_has_no_value_is_in_the_table():
    table = evaluate(clips([1.0, 2.0], [0.5, 0.5])).to_dataframe()
    assert [math.isnan(value) for value in table.value] == [True] * 3
    assert (table.value.dtype, table.ci_low.dtype, set(table.status)) == ("float64", "float64", {"undefined"})
    assert evaluate([]).to_dataframe().empty


def test_a_notebook_shows_a_light_table_of_escaped_text(results):
    shown = results._repr_html_()
    assert len(shown) < 5000
    assert shown.count("<tr>") == 5
    assert "<td" in shown
    assert "0.6667" in shown
    shown = evaluate(clips([1.0], [0.5], source=HOSTILE))._repr_html_()
    assert "</script>" not in shown
    assert "\x1b" not in shown


def test_the_files_are_those_of_a_run(results, tmp_path):
    files = results.to_disk(tmp_path / "new" / "folder")
    assert {file.name for file in files} >= {"metrics_summary.csv", "metrics.json", "latex.txt"}
    assert "MusicArena" in files[0].read_text()
