"""What is sent to Gemini, and what becomes of its answer."""

import io

import numpy as np
import pytest
import soundfile
import torch
from fake_gemini import Fault, scores

from cmi_bench.audio.decode import decode
from cmi_bench.errors import UserError
from cmi_bench.models.base import BenchmarkBatchInput, BenchmarkModelABC, SomeFailedError


def samples(flac):
    values, sr = soundfile.read(io.BytesIO(flac), dtype="float32")
    assert sr == 24000
    return values


def test_the_whole_instruction_and_the_audio_go_into_one_request(judge, gemini, clip, key):
    reference = clip(7, seconds=0.3, sr=44100, name="reference").audio
    model = judge()
    assert isinstance(model, BenchmarkModelABC)
    assert model.is_remote
    answer = model.score_batch([clip(seconds=2, text="slow jazz", lyrics="la la", reference=reference)], 1, 1.25)
    (asked,) = gemini.asked
    assert asked.judge == "gemini-2.5-pro"
    assert asked.key == key
    assert key not in asked.path
    assert "slow jazz" in asked.words
    assert "la la" in asked.words
    assert "musicality" in asked.body["systemInstruction"]["parts"][0]["text"]
    generation = asked.body["generationConfig"]
    assert generation["temperature"] == 0
    assert generation["thinkingConfig"] == {"thinkingBudget": 1024}
    assert generation["responseMimeType"] == "application/json"
    schema = generation["responseSchema"]
    assert schema["required"] == schema["propertyOrdering"] == ["remarks", "alignment", "musicality"]
    assert schema["properties"]["musicality"] == {"type": "NUMBER", "minimum": 0, "maximum": 100}
    # The instruction comes first, so the reference before the clip; both are what a model would hear.
    heard_reference, heard_clip = (samples(flac) for flac in asked.audio)
    assert len(heard_clip) == 1.25 * 24000
    np.testing.assert_allclose(heard_clip, decode(clip(seconds=2).audio, 24000, 1.25), atol=1 / 2**15)
    np.testing.assert_allclose(heard_reference, decode(reference, 24000, 1.25), atol=1 / 2**15)
    thought = scores(asked.audio, asked.words)
    assert answer == pytest.approx(np.array([[thought["alignment"], thought["musicality"]]]))


def test_without_any_instruction_alignment_is_not_asked_for(judge, gemini, clip):
    answer = judge().score_batch([clip(text="")], 1, 10)
    assert answer[0, 0] == 50
    assert "alignment" not in gemini.asked[0].body["generationConfig"]["responseSchema"]["properties"]


def test_a_score_does_not_depend_on_batch_or_order_and_each_question_is_asked_once(judge, gemini, clip):
    clips = [clip(number, seconds=0.1 + 0.2 * number) for number in range(4)]
    clips += [clip(text="other words"), clip(0), clip(9, seconds=0.001), clip(8, gain=0.0)]
    together = judge().score_batch(clips, 8, 10)
    assert together.shape == (8, 2)
    assert len(gemini.asked) == 7  # one clip is there twice
    assert (together[5] == together[0]).all()
    assert (together[4] != together[0]).all()
    backwards = judge().score_batch(clips[::-1], 8, 10)
    alone = np.concatenate([judge().score_batch([one], 1, 10) for one in clips])
    np.testing.assert_array_equal(backwards[::-1], together)
    np.testing.assert_array_equal(alone, together)


def test_a_waveform_is_sent_as_its_file_would_be(judge, gemini, clip):
    path = clip().audio
    waveform = BenchmarkBatchInput(torch.as_tensor(decode(path, 24000)), text="a song")
    answers = judge().score_batch([clip(), waveform], 2, 0.25)
    assert gemini.asked[0].audio == gemini.asked[1].audio
    assert (answers[0] == answers[1]).all()


def test_several_clips_are_in_flight(judge, gemini, clip):
    gemini.faults = [Fault(seconds=0.2)]
    judge("calls.in_flight=3").score_batch([clip(number) for number in range(6)], 6, 10)
    assert gemini.most_at_once == 3


def test_calls_keep_their_distance(judge, gemini, clip):
    judge("calls.requests_per_minute=600").score_batch([clip(number) for number in range(4)], 4, 10)
    times = sorted(asked.time for asked in gemini.asked)
    assert times[-1] - times[0] > 0.25  # 3 distances of 0.1 s, less what threads and sockets take


def test_the_environment_does_not_lead_the_client_elsewhere(judge, gemini, clip, monkeypatch):
    monkeypatch.setenv("GOOGLE_GENAI_USE_VERTEXAI", "true")
    monkeypatch.setenv("GOOGLE_GENAI_API_VERSION", "v1alpha")
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", "http://127.0.0.1:9")
    judge().score_batch([clip()], 1, 10)
    assert gemini.asked[0].path == "/v1/models/gemini-2.5-pro:generateContent"


def test_large_audio_is_uploaded_and_removed_afterwards(judge, gemini, clip):
    question = clip(reference=clip(3).audio)
    uploaded = judge("calls.inline_mb=0.02").score_batch([question], 1, 10)
    assert gemini.uploads == 2
    assert gemini.files == {}
    inline = judge().score_batch([question], 1, 10)
    assert gemini.uploads == 2
    assert (uploaded == inline).all()


def test_a_file_that_cannot_be_read_costs_nothing(judge, gemini, clip, tmp_path):
    (tmp_path / "broken.wav").write_bytes(b"no audio")
    broken = BenchmarkBatchInput(str(tmp_path / "broken.wav"), text="a song")
    with pytest.raises(SomeFailedError) as raised:
        judge().score_batch([broken, clip()], 2, 10)
    assert list(raised.value.reasons) == [0]
    assert "broken.wav" in raised.value.reasons[0]
    assert np.isfinite(raised.value.scores[1]).all()
    assert len(gemini.asked) == 1


def test_what_settles_a_score_is_in_the_identity_and_nothing_else(judge, tmp_path):
    (tmp_path / "other.txt").write_text("Be strict.")
    plain = judge().identity
    assert {judge(word).identity for word in ("max_spend=1", "calls.in_flight=2", "calls.max_output_tokens=99")} == {
        plain
    }
    words = ["judge=gemini-2.5-flash", "temperature=1", "sr=16000", "thinking_budget=null",
             "prompt=Be strict.", "base_url=http://127.0.0.1:1"]  # fmt: skip
    others = {word: judge(word).identity for word in words}
    assert len({*others.values(), plain}) == len(words) + 1
    assert judge(f"prompt_file={tmp_path}/other.txt").identity == others["prompt=Be strict."]


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("judge=gemini-9", "no price for model.judge=gemini-9"),
        ("prompt_file=nowhere.txt", "nowhere.txt cannot be read"),
        ("prompt=", "model.prompt is empty"),
        ("calls.in_flight=0", "model.calls.in_flight is 0; expected at least 1"),
        ("calls.attempts=many", "model.calls.attempts is 'many'; expected a whole number"),
        ("calls.attemps=3", "Did you mean attempts"),
        ("max_spend=little", "model.max_spend is 'little'; expected a number"),
        ("base_url=localhost", "no address"),
        ("base_url=http://me:secret@host/", "a name or a password"),
    ],
)
def test_a_wrong_option_is_said_before_anything_is_asked(judge, word, said):
    with pytest.raises(UserError, match=said):
        judge(word)
