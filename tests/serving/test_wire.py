"""The bodies of requests and answers: what is refused, and what programs can read of them."""

import json
import math

import pytest
from pydantic import ValidationError

from cmi_bench.serving.wire import (
    BatchRequest,
    ErrorCode,
    Receipt,
    ScoreRequest,
    ServedModel,
    Settings,
)
from cmi_bench.types import Score

MODEL = ServedModel(name="signal", identity="i", weights=None, code="c")
SETTINGS = Settings(max_dur=120, precision="32")


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ({"audio": {}}, "give `part` or `path`"),
        ({"audio": {"part": "a", "path": "b"}}, "give `part` or `path`"),
        ({"audio": {"path": "b", "sample_rate": 16000}}, "goes with a part"),
        ({"audio": {"path": "b"}, "lyric": "la"}, "Extra inputs"),
        ({"audio": {"part": "b", "sample_rate": 1}}, "greater than or equal"),
    ],
)
def test_what_is_no_request(request_, says):
    with pytest.raises(ValidationError, match=says):
        ScoreRequest.model_validate(request_)


def test_a_batch_has_songs():
    with pytest.raises(ValidationError, match="at least 1"):
        BatchRequest(songs=[])


def test_what_a_model_does_not_judge_is_null_in_a_receipt():
    scores = Receipt.scores_of(Score(math.nan, 0.5, members=((math.nan, 0.25), (math.nan, 0.75))))
    written = json.loads(Receipt(**scores, model=MODEL, settings=SETTINGS).model_dump_json())
    assert (written["alignment"], written["alignment_spread"]) == (None, None)
    assert written["musicality"] == 0.5
    assert written["musicality_spread"] == pytest.approx(0.5 / math.sqrt(2))


def test_each_kind_of_error_has_a_status():
    assert {code.status for code in ErrorCode} >= {400, 401, 404, 408, 413, 415, 422, 429, 500, 503}
    assert [code for code in ErrorCode if code.is_passing] == [
        ErrorCode.BUSY,
        ErrorCode.STOPPING,
        ErrorCode.NOT_READY,
    ]
