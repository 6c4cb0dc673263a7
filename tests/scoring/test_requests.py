"""What makes two clips the same request."""

from dataclasses import replace
from pathlib import Path

import pytest

from cmi_bench.data.audio_info import FileFacts
from cmi_bench.models.base import BenchmarkModelABC
from cmi_bench.scoring.model_call import ModelCall
from cmi_bench.scoring.requests import deduplicate
from cmi_bench.types import Clip


class Names:
    """Files are what they are called."""

    def facts(self, path):
        return FileFacts(digest=path.name, seconds=1.0)


FIRST = Clip("0:a", Path("x.wav"), text="jazz", lyrics="la", ref_audio=Path("r.wav"))
OTHERS = {"text": "rock", "lyrics": "lo", "ref_audio": None}


class Model(BenchmarkModelABC):
    """Never asked here."""

    sr = 8000

    def __init__(self, unused=(), identity="model"):
        self.unused_inputs, self.identity = frozenset(unused), identity

    def score_batch(self, inputs, batch_size, max_dur, **kwargs):
        raise AssertionError


def asked(other, unused):
    return deduplicate([FIRST, other], ModelCall(Model(unused), 30.0), Names())


@pytest.mark.parametrize("kind", OTHERS)
def test_what_a_model_does_not_use_makes_no_difference(kind):
    other = replace(FIRST, clip_id="1:a", **{kind: OTHERS[kind]})
    assert len(asked(other, ()).requests) == 2
    assert len(asked(other, set(OTHERS) - {kind}).requests) == 2
    (one,) = asked(other, {kind}).requests
    assert set(asked(other, {kind}).key_of.values()) == {one.key}


def test_a_model_is_not_given_what_it_does_not_use():
    (one,) = asked(replace(FIRST, clip_id="1:a"), OTHERS).requests
    assert (one.clip.text, one.clip.lyrics, one.clip.ref_audio, one.ref_audio) == ("", "", None, None)
    (all_of_it,) = asked(replace(FIRST, clip_id="1:a"), ()).requests
    assert all_of_it.clip == FIRST


@pytest.mark.parametrize("kind", ["audio", "ref_audio"])
def test_other_audio_is_another_request(kind):
    other = replace(FIRST, clip_id="1:a", **{kind: Path("y.wav")})
    assert len(asked(other, {"text", "lyrics"}).requests) == 2


def keys_of(*, identity="model", max_dur=30.0, score_kwargs=None):
    model = Model(identity=identity)
    same_again = replace(FIRST, clip_id="1:a")
    return deduplicate([FIRST, same_again], ModelCall(model, max_dur, score_kwargs or {}), Names()).key_of


@pytest.mark.parametrize("told", [{"identity": "other"}, {"max_dur": 10.0}, {"score_kwargs": {"bonus": 1}}], ids=str)
def test_the_same_clip_is_another_request_to_another_model_or_to_one_told_otherwise(told):
    assert set(keys_of().values()).isdisjoint(keys_of(**told).values())
    assert keys_of(**told) == keys_of(**told)


def test_a_model_without_identity_is_asked_about_every_clip_by_itself():
    assert len(set(keys_of().values())) == 1
    assert len(set(keys_of(identity=None).values())) == 2


def test_a_clip_whose_file_cannot_be_read_is_named_and_the_others_are_asked_about():
    class OneGone(Names):
        def facts(self, path):
            if path.name == "gone.wav":
                raise FileNotFoundError(2, "No such file or directory", str(path))
            return super().facts(path)

    gone = replace(FIRST, clip_id="1:a", audio=Path("gone.wav"))
    plan = deduplicate([gone, FIRST], ModelCall(Model(), 30.0), OneGone())
    assert plan.unreadable == {"1:a": "Cannot read gone.wav: No such file or directory"}
    assert list(plan.key_of) == ["0:a"]
    assert [request.clip for request in plan.requests] == [FIRST]
