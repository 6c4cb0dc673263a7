"""Calls that fail: repeated, a clip's failure, or the end of the run."""

import json
import sys

import numpy as np
import pytest
from fake_gemini import Fault

from cmi_bench.errors import RunError, UserError
from cmi_bench.models.base import SomeFailedError


def error(code, status, message="no", details=()):
    return {"error": {"code": code, "status": status, "message": message, "details": list(details)}}


RETRY_INFO = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "0.3s"}
TROUBLES = {
    "busy, says when in the body": Fault(status=429, body=error(429, "RESOURCE_EXHAUSTED", details=[RETRY_INFO])),
    "busy, says when in the header": Fault(status=429, body=error(429, "BUSY"), headers={"Retry-After": "0.3"}),
    "broken": Fault(status=500, body=error(500, "INTERNAL")),
    "overloaded, in HTML": Fault(status=503, body="<html>busy</html>"),
    "no JSON": Fault(answer="I would say 70 of 100."),
    "off the scale": Fault(answer='{"remarks": "", "alignment": 50, "musicality": 101}'),
    "not a number": Fault(answer='{"remarks": "", "alignment": NaN, "musicality": 50}'),
    "lacks a score": Fault(answer='{"remarks": "", "musicality": 50}'),
    "a list": Fault(answer="[50, 50]"),
    "empty": Fault(answer=""),
    "no candidate": Fault(body={"usageMetadata": {"promptTokenCount": 5}}),
    "cut off by its bound": Fault(answer='{"remarks": "A so', finish="MAX_TOKENS"),
    "connection lost": Fault(cut_after=40),
    "half a document": Fault(body='{"candidates": [{"conte'),
    "slow": Fault(seconds=0.7),
}


@pytest.mark.parametrize("name", TROUBLES)
def test_what_may_pass_is_asked_again_and_the_other_clip_is_not(judge, gemini, clip, name):
    fault = Fault(**vars(TROUBLES[name]) | {"text": "troubled", "times": 1})
    gemini.faults = [fault]
    clips = [clip(0, text="troubled"), clip(1, text="fine")]
    # On a busy machine half a second is short for the other clip too.
    answer = judge(*(["calls.timeout=0.5"] if name == "slow" else [])).score_batch(clips, 2, 10)
    troubled = [asked for asked in gemini.asked if "troubled" in asked.words]
    assert len(troubled) == 2
    assert len(gemini.asked) == 3
    np.testing.assert_array_equal(answer, judge().score_batch(clips, 2, 10))
    if fault.status == 429:
        assert troubled[1].time - troubled[0].time >= 0.3


@pytest.mark.parametrize("name", ["broken", "no JSON", "cut off by its bound", "connection lost"])
def test_what_does_not_pass_is_a_failure_of_that_clip_alone(judge, gemini, clip, name):
    gemini.faults = [Fault(**vars(TROUBLES[name]) | {"text": "troubled"})]
    model = judge("calls.attempts=3")
    with pytest.raises(SomeFailedError) as raised:
        model.score_batch([clip(0), clip(1, text="troubled"), clip(2)], 3, 10)
    assert list(raised.value.reasons) == [1]
    assert "(3 attempts)" in raised.value.reasons[1]
    assert np.isfinite(raised.value.scores[[0, 2]]).all()
    assert len(gemini.asked) == 5


BLOCKS = {
    "the request": Fault(body={"promptFeedback": {"blockReason": "SAFETY"}}),
    "the answer": Fault(answer="", finish="PROHIBITED_CONTENT"),
    "for recitation": Fault(answer="", finish="RECITATION"),
    "as unfit": Fault(status=400, body=error(400, "INVALID_ARGUMENT", "Audio cannot be processed.")),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_what_is_blocked_fails_at_once(judge, gemini, clip, name):
    gemini.faults = [BLOCKS[name]]
    with pytest.raises(SomeFailedError, match=r"blocked|cannot be processed"):
        judge().score_batch([clip()], 1, 10)
    assert len(gemini.asked) == 1


ENDS = {
    "the key is invalid": (Fault(status=400, body=error(400, "INVALID_ARGUMENT", "API key {key} no!")), "refused"),
    "the key may not": (Fault(status=403, body=error(403, "PERMISSION_DENIED", "{key}")), "GEMINI_API_KEY"),
    "no such judge": (Fault(status=404, body=error(404, "NOT_FOUND")), "no model 'gemini-2.5-pro'"),
    "the day is over": (
        Fault(status=429, body=error(429, "RESOURCE_EXHAUSTED", details=[{"quotaId": "RequestsPerDay"}])), "quota"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ENDS)
def test_what_is_no_clips_fault_ends_the_run_at_once(judge, gemini, clip, name, key):
    fault, said = ENDS[name]
    gemini.faults = [Fault(status=fault.status, body=json.dumps(fault.body).replace("{key}", key))]
    with pytest.raises(RunError) as raised:
        judge("calls.in_flight=1").score_batch([clip(number) for number in range(3)], 3, 10)
    assert said in str(raised.value)
    assert key not in str(raised.value)
    assert len(gemini.asked) == 1


def test_a_rate_limit_that_does_not_end_is_no_clips_fault(judge, gemini, clip):
    gemini.faults = [Fault(status=429, body=error(429, "RESOURCE_EXHAUSTED"))]
    with pytest.raises(RunError, match="rate limit or quota"):
        judge("calls.attempts=2").score_batch([clip()], 1, 10)
    assert len(gemini.asked) == 2


def test_no_network_is_said_as_such(judge, clip):
    with pytest.raises(RunError, match=r"Cannot reach http://127.0.0.1:9") as raised:
        judge("base_url=http://127.0.0.1:9").score_batch([clip()], 1, 10)
    assert "HTTPS_PROXY" in str(raised.value)


def test_without_a_key_the_message_says_where_to_get_one(judge, monkeypatch):
    monkeypatch.delenv("GEMINI_API_KEY")
    with pytest.raises(UserError, match="export GEMINI_API_KEY="):
        judge()
    monkeypatch.setenv("GOOGLE_API_KEY", "this is no key")
    with pytest.raises(UserError) as raised:
        judge()
    assert "this is no key" not in str(raised.value)


def test_without_the_package_the_message_says_how_to_install_it(judge, monkeypatch):
    monkeypatch.setitem(sys.modules, "google.genai", None)
    monkeypatch.delattr("google.genai", raising=False)
    with pytest.raises(UserError, match=r"pip install .*\[gemini\]"):
        judge()
