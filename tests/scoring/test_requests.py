"""What makes two clips the same request."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from cmi_bench.data.audio_info import FileFacts
from cmi_bench.scoring.model_call import ModelCall
from cmi_bench.scoring.requests import deduplicate
from cmi_bench.types import Clip


class Names:
    """Files are what they are called."""

    def facts(self, path):
        return FileFacts(digest=path.name, seconds=1.0)


FIRST = Clip("0:a", Path("x.wav"), text="jazz", lyrics="la", ref_audio=Path("r.wav"))
OTHERS = {"text": "rock", "lyrics": "lo", "ref_audio": None}


def asked(other, unused):
    model = SimpleNamespace(identity="model", unused_inputs=frozenset(unused))
    return deduplicate([FIRST, other], ModelCall(model, 30.0), Names())


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


def test_other_audio_is_another_request():
    assert len(asked(replace(FIRST, clip_id="1:a", audio=Path("y.wav")), OTHERS).requests) == 2
