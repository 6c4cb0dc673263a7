import csv
import io
import json

import pytest
from degraded_clips import degraded

from cmi_bench.evaluation.robustness import measure_robustness
from cmi_bench.reporting.robustness import robustness_plot, sanity_csv, sanity_json, sanity_view
from cmi_bench.types import Aspect
from cmi_bench.utils.console import plain_text


@pytest.fixture
def results():
    nan = float("nan")
    along = {"clean": [1.0, 2.0], "noise": [0.5, 1.0], "gone": [nan, nan], "silence": [0.0, nan]}
    scores = [
        degraded(kind, f"{kind} step", int(kind != "clean"), piece, score)
        for kind, of_pieces in along.items()
        for piece, score in enumerate(of_pieces)
    ]
    return [measure_robustness(scores, aspect) for aspect in Aspect]


def test_csv_and_json_hold_the_same_steps(results):
    lines = list(csv.DictReader(io.StringIO(sanity_csv(results))))
    document = json.loads(sanity_json(results))
    assert len(lines) == len(document["steps"]) == 6
    for line, step in zip(lines, document["steps"], strict=True):
        assert {key: "" if value is None else str(value) for key, value in step.items()} == line
    assert document["clean"] == {"musicality": [1.0, 2.0], "alignment": [1.0, 2.0]}
    noise, gone, silence = document["kinds"][:3]
    assert (noise["kind"], noise["rank_correlation"], noise["n"]) == ("noise", pytest.approx(-1.0), 2)
    assert (gone["kind"], gone["rank_correlation"], gone["n"]) == ("gone", None, 0)
    assert (silence["kind"], silence["rank_correlation"], silence["n"]) == ("silence", pytest.approx(-1.0), 1)


def test_the_table_fits_and_says_what_failed(results):
    text = plain_text(sanity_view(results, {"noise": "musicality"}, title="mine"))
    assert max(map(len, text.splitlines())) <= 80
    assert "-0.750 ±0.354*" in text
    assert text.count("*") == 2  # one step, and what the star means
    assert "all failed" in text
    assert "2 pieces" in text


def test_a_model_without_scores_is_named(results):
    assert "gave no clip a score" in plain_text(sanity_view([], {}, title="mute"))


def test_the_plot_takes_steps_without_a_score(results):
    plot = robustness_plot(results, name="sanity", alt="x")
    assert plot.png.startswith(b"\x89PNG")
