"""The lines of results.jsonl."""

import json
import math

from cmi_bench.data.rows import load_rows
from cmi_bench.scoring.requests import clips_of
from cmi_bench.scoring.results import results_rows
from cmi_bench.types import Score


def test_results_carry_the_rows_fields_and_the_public_names(tiny):
    rows = load_rows(tiny / "all_test.jsonl").rows
    scores = {clip.clip_id: Score(math.nan, float(number)) for number, clip in enumerate(clips_of(rows, tiny))}
    pair, _, single = results_rows(rows, scores)[:3]
    assert [key for key in pair if key not in rows[0].raw] == [
        "benchmark_dataset",
        "predicted_musicality",
        "predicted_musicality_b",
        "predicted_text-music alignment",
        "predicted_text-music alignment_b",
        "predicted_preference",
        "predicted_preference-musicality",
        "predicted_preference-alignment",
        "inference_valid_b",
        "inference_valid_a",
        "inference_error",
    ]
    assert pair["predicted_text-music alignment"] is None  # not judged
    assert pair["predicted_preference-alignment"] is None
    assert pair["predicted_preference-musicality"] == "model_b"
    assert single["benchmark_dataset"] == "PAM"
    assert "predicted_musicality_b" not in single
    json.dumps(pair, allow_nan=False)


def test_a_failed_clip_has_no_preference_and_a_reason(tiny):
    rows = load_rows(tiny / "all_test.jsonl").rows
    scores = {clip.clip_id: Score(0.5, 1.0) for clip in clips_of(rows, tiny)} | {"1:b": Score.failed("cannot decode")}
    first = results_rows(rows, scores)[0]
    assert (first["inference_valid_a"], first["inference_valid_b"]) == (True, False)
    assert first["inference_error"] == "cannot decode"
    assert first["predicted_musicality_b"] is first["predicted_preference-musicality"] is None


def test_rows_of_an_ensemble_have_its_members_and_their_spread(tiny):
    rows = load_rows(tiny / "all_test.jsonl").rows
    both = Score(math.nan, 2.0, members=((math.nan, 1.0), (math.nan, 3.0)))
    scores = dict.fromkeys((clip.clip_id for clip in clips_of(rows, tiny)), both) | {"1:b": Score.failed("broken")}
    pair, _, single = results_rows(rows, scores)[:3]
    assert single["predicted_musicality_members"] == pair["predicted_musicality_members"] == [1.0, 3.0]
    assert single["predicted_musicality_spread"] == math.sqrt(2)
    assert "predicted_musicality_spread_b" not in single
    assert pair["predicted_musicality_members_b"] is pair["predicted_musicality_spread_b"] is None  # failed
    assert pair["predicted_text-music alignment_members"] is None  # not judged
    json.dumps(pair, allow_nan=False)
