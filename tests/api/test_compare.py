"""`cmi_bench.compare`: what `task=compare` tells, as objects."""

import json
import math

import pytest
from scored_rows import clips

import cmi_bench

LABELS = [1 + at % 4 + at / 100 for at in range(40)]
NEAR = [label + at * 7 % 5 / 5 for at, label in enumerate(LABELS)]
SCORES = {"good": NEAR, "bad": [-(at * 3 % 7) - one / 9 for at, one in enumerate(NEAR)], "none": [0.5] * 40}


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for name, scores in SCORES.items():
        (folder / name).mkdir()
        rows = [row | {"audio-path": f"{at}.wav"} for at, row in enumerate(clips(LABELS, scores))]
        (folder / name / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return cmi_bench.compare([folder / "good", str(folder / "bad"), folder / "n*"])


def test_what_is_shown(compared):
    title, first, *_ = repr(compared).splitlines()
    good, bad = (one.value for one in compared.metric_comparisons[0].standings[:2])
    assert title == "<ComparedRuns of good, bad, none"
    assert first == f"  MusicEval musicality SRCC (n=40): good {good:.4f} a, bad {bad:.4f} b, none undefined"
    shown = compared._repr_html_()
    assert "3 runs compared" in shown
    assert shown.count("<tr>") == 4


def test_the_tables(compared):
    table = compared.to_dataframe()
    assert table[["metric", "run", "significance_group"]].values.tolist()[:3] == [
        ["SRCC", "good", "a"], ["SRCC", "bad", "b"], ["SRCC", "none", ""],
    ]  # fmt: skip
    assert table.value[0] > 0.7 > 0 > table.value[1]
    assert table.ci_low[0] < table.value[0] < table.ci_high[0]
    assert math.isnan(table.value[2])
    pairs = compared.to_dataframe(differences=True)
    assert pairs[["metric", "first", "second", "n"]].values.tolist()[0] == ["SRCC", "good", "bad", 40]
    assert pairs.difference[0] == pytest.approx(table.value[0] - table.value[1])
    assert (pairs.p_holm < 0.05).all()


def test_the_files(compared, tmp_path):
    assert "comparison.csv" in {file.name for file in compared.to_disk(tmp_path / "here")}


def test_mistakes(compared, tmp_path):
    with pytest.raises(cmi_bench.UserError, match="needs two or more runs"):
        cmi_bench.compare([next(iter(compared.origins.values()))])
    with pytest.raises(cmi_bench.UserError, match="There is no run"):
        cmi_bench.compare(["nowhere", "nowhere either"])
