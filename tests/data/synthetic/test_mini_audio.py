"""The mini benchmark's audio: there, audible, of the planned form, the same each time."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cmi_bench.data.synthetic.build import plan_mini
from cmi_bench.data.synthetic.clips import write_clip

PLANS = plan_mini().clips


def test_every_clip_is_there_as_planned(mini_root):
    for plan in PLANS:
        info = soundfile.info(mini_root / plan.path)
        assert (info.samplerate, info.channels) == (plan.sr, plan.channels), plan.path
        assert info.duration == pytest.approx(plan.seconds, abs=0.1), plan.path


@pytest.mark.parametrize("plan", PLANS[::4], ids=lambda plan: plan.path)
def test_clips_sound_and_stay_in_range(mini_root, plan):
    wave, _ = soundfile.read(mini_root / plan.path)
    assert np.max(np.abs(wave)) <= 1.0
    assert np.sqrt(np.mean(wave**2)) > 0.01


def test_two_builds_give_equal_bytes(mini_root, tmp_path):
    # The fixture was built by threads in an order of its own, this sample is made one by one.
    for plan in PLANS[::7]:
        write_clip(tmp_path, plan)
        assert (tmp_path / plan.path).read_bytes() == (mini_root / plan.path).read_bytes(), plan.path


def test_all_clips_differ(mini_root):
    contents = {(mini_root / plan.path).read_bytes() for plan in PLANS}
    assert len(contents) == len(PLANS)


def test_durations_fill_the_first_groups():
    groups = Counter(np.searchsorted((10, 30), plan.seconds, side="right").item() for plan in PLANS)
    assert groups[0] > 100
    assert groups[1] >= 10
    assert groups[2] == 3


def test_forms_are_mixed():
    assert {plan.sr for plan in PLANS} == {16000, 24000, 32000, 44100}
    assert {plan.channels for plan in PLANS} == {1, 2}
    assert {Path(plan.path).suffix for plan in PLANS} == {".wav", ".mp3"}


def test_the_folder_is_small(mini_root):
    assert sum(path.stat().st_size for path in mini_root.rglob("*")) < 40e6
