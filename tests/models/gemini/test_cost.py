"""What Gemini costs: the estimate, the limit, answers that are kept."""

import json
import logging
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from fake_gemini import Fault

from cmi_bench.errors import RunError
from cmi_bench.models.base import ClipAhead, SomeFailedError, WorkAhead
from cmi_bench.types import Clip


def ahead(clips, folder, *, seconds=0.5, processes=1, resume=True, max_dur=10.0):
    def one(clip):
        reference = clip.ref_audio and Path(clip.ref_audio)
        return ClipAhead(Clip(clip.clip_id, Path(clip.audio), clip.text, clip.lyrics, reference), seconds, None)

    return WorkAhead([one(clip) for clip in clips], max_dur, folder, processes, resume)


@pytest.fixture
def clips(clip):
    return [clip(number, text=f"song {number}") for number in range(4)]


def kept(folder):
    return [json.loads(line) for path in folder.glob("answers/*.jsonl") for line in path.read_text().splitlines()]


def test_answers_are_kept_as_they_came_and_never_paid_for_again(judge, gemini, clips, tmp_path, key):
    model = judge()
    model.prepare(ahead(clips, tmp_path))
    first = model.score_batch(clips, 4, 10)
    lines = kept(tmp_path)
    assert len(lines) == 4
    assert lines[0]["raw"]["model_version"] == "gemini-2.5-pro"
    assert json.loads(lines[0]["raw"]["candidates"][0]["content"]["parts"][0]["text"])["remarks"] == "A song."
    # 1000 tokens of text and 100 of audio at $1.25, 50 of answer and 100 of thoughts at $10, for 10^6.
    assert lines[0]["dollars"] == pytest.approx((1100 * 1.25 + 150 * 10) / 1e6)
    settings = json.loads((tmp_path / "answers/settings.json").read_text())
    assert settings["judge"] == "gemini-2.5-pro"
    again = judge()
    again.prepare(ahead(clips, tmp_path))
    np.testing.assert_array_equal(again.score_batch(clips, 4, 10), first)
    assert len(gemini.asked) == 4


def test_another_length_or_text_is_another_question(judge, gemini, clips, clip, tmp_path):
    model = judge()
    model.prepare(ahead(clips, tmp_path))
    model.score_batch(clips[:1], 1, 10)
    model.score_batch(clips[:1], 1, 0.25)
    model.score_batch([clip(0, text="another song")], 1, 10)
    assert len(gemini.asked) == 3


def test_an_answer_that_a_kill_cut_off_is_asked_for_again(judge, gemini, clips, tmp_path):
    model = judge()
    model.prepare(ahead(clips, tmp_path))
    model.score_batch(clips, 4, 10)
    (file,) = (tmp_path / "answers").glob("*.jsonl")
    file.write_bytes(file.read_bytes()[:-20])
    again = judge()
    again.prepare(ahead(clips, tmp_path))
    again.score_batch(clips, 4, 10)
    assert len(gemini.asked) == 5


def test_scoring_afresh_asks_again_and_keeps_what_was_paid_for(judge, gemini, clips, tmp_path):
    for resume in (True, False):
        model = judge()
        model.prepare(ahead(clips, tmp_path, resume=resume))
        model.score_batch(clips, 4, 10)
    assert len(gemini.asked) == len(kept(tmp_path)) == 8


def test_what_could_not_be_read_is_kept_and_asked_again_by_the_next_run(judge, gemini, clips, tmp_path):
    gemini.faults = [Fault(text="song 2", answer="Great song!", times=2)]
    model = judge("calls.attempts=2")
    model.prepare(ahead(clips, tmp_path))
    with pytest.raises(SomeFailedError):
        model.score_batch(clips, 4, 10)
    assert len(kept(tmp_path)) == 5
    again = judge()
    again.prepare(ahead(clips, tmp_path))
    assert np.isfinite(again.score_batch(clips, 4, 10)).all()
    assert len(gemini.asked) == 6


def test_the_estimate_is_said_before_the_start(judge, gemini, clips, tmp_path, caplog):
    caplog.set_level(logging.INFO, "cmi_bench")
    judge().prepare(ahead(clips, tmp_path, seconds=60, max_dur=30))
    # 4 clips of 30 s at 32 tokens, and about 1000 tokens of text, at $1.25 for 10^6; 1144 of answer at $10.
    assert "gemini-2.5-pro, 4 clips, 2.0 min of audio: about $0.05" in caplog.text
    assert "Limit: $5.00" in caplog.text
    assert not gemini.asked


def test_a_run_that_would_cost_too_much_does_not_start(judge, gemini, clips, tmp_path):
    with pytest.raises(RunError, match=r"would cost about \$0.05, and the limit is \$0.01"):
        judge("max_spend=0.01").prepare(ahead(clips, tmp_path))
    assert not gemini.asked


def test_the_estimate_leaves_out_what_is_answered(judge, clips, tmp_path):
    model = judge()
    model.prepare(ahead(clips, tmp_path))
    model.score_batch(clips, 4, 10)
    judge("max_spend=0.01").prepare(ahead(clips, tmp_path))


def test_the_limit_is_never_crossed_and_the_next_run_goes_on(judge, gemini, clips, tmp_path):
    gemini.output_tokens = 600  # with thoughts 1800, more than was to be expected: $0.0194 for each answer
    model = judge("max_spend=0.055", "calls.in_flight=3", "calls.max_output_tokens=2048")
    model.prepare(ahead(clips, tmp_path))
    with pytest.raises(RunError, match="spending limit is reached"):
        model.score_batch(clips, 4, 10)
    spent = sum(line["dollars"] for line in kept(tmp_path))
    assert 0 < spent <= 0.055
    assert len(gemini.asked) == 2
    again = judge("max_spend=1")
    again.prepare(ahead(clips, tmp_path))
    assert np.isfinite(again.score_batch(clips, 4, 10)).all()
    assert len(gemini.asked) == 4


def test_answers_on_their_way_when_the_user_stops_are_kept(judge, gemini, clips, tmp_path):
    gemini.faults = [Fault(seconds=0.5)]
    model = judge("calls.in_flight=2")
    model.prepare(ahead(clips, tmp_path))

    def stop():
        while len(gemini.asked) < 2:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=stop, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        model.score_batch(clips, 4, 10)
    assert len(gemini.asked) == len(kept(tmp_path)) == 2


def test_several_processes_would_not_keep_to_the_limits(judge, clips, tmp_path):
    with pytest.raises(RunError, match="from one process"):
        judge().prepare(ahead(clips, tmp_path, processes=2))


def test_calls_that_break_off_count_as_paid(judge, gemini, clips, tmp_path):
    gemini.faults = [Fault(cut_after=10)]
    model = judge("max_spend=0.06", "calls.attempts=9", "calls.max_output_tokens=2048")
    model.prepare(ahead(clips[:1], tmp_path))
    with pytest.raises(RunError, match="spending limit"):
        model.score_batch(clips[:1], 1, 10)
    assert len(gemini.asked) == 2  # of at most about $0.022 each


def test_what_was_spent_is_said(judge, clips, tmp_path, caplog):
    caplog.set_level(logging.INFO, "cmi_bench")
    model = judge()
    model.prepare(ahead(clips, tmp_path))
    model.score_batch(clips, 4, 10)
    model.finish()
    assert "Spent on gemini-2.5-pro: $0.01" in caplog.text
