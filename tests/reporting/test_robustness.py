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
    assert "-0.750 ±0.354" in text
    assert "A listener would lower musicality for noise." in text
    for words in (" ".join(text.split()), *json.loads(sanity_json(results))["notes"]):
        assert "noise, clipping and lowpass are among the faults that model=signal was made to measure" in words
    assert "all failed" in text
    assert "2 pieces" in text


def test_a_model_without_scores_is_named(results):
    assert "gave no clip a score" in plain_text(sanity_view([], {}, title="mute"))


def test_the_plot_takes_steps_without_a_score(results):
    plot = robustness_plot(results, name="sanity", alt="x")
    assert plot.png.startswith(b"\x89PNG")


def test_a_star_is_the_result_of_a_test_and_no_constant():
    """All eight pieces fall under noise; under silence some rise as far as others fall."""
    scores = [
        degraded(kind, kind, int(kind != "clean"), piece, piece + change)
        for kind, changes in {
            "clean": [0.0] * 8,
            "noise": [-0.1 * number for number in range(1, 9)],
            "silence": [-1.0, 1.0] * 4,
        }.items()
        for piece, change in enumerate(changes)
    ]
    found = [measure_robustness(scores, aspect) for aspect in Aspect]
    lines = plain_text(sanity_view(found, {"silence": "musicality"}, title="mine")).splitlines()
    starred = {line.split()[0]: line.count("*") for line in lines if line.startswith((" noise", " silence"))}
    assert starred == {"noise": 2, "silence": 0}
    kinds = json.loads(sanity_json(found))["kinds"]
    assert [(kind["kind"], kind["p"], kind["p_holm"], kind["falls"]) for kind in kinds[:2]] == [
        ("noise", 1 / 256, 2 / 256, True),
        ("silence", pytest.approx(163 / 256), pytest.approx(163 / 256), False),
    ]
