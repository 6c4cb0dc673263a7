"""Labels follow from what was done to the clips; prompts say what is asked."""

from scipy.stats import spearmanr

from cmi_bench.data.fields import Preference, parse_preference
from cmi_bench.data.synthetic.build import plan_mini
from cmi_bench.data.synthetic.composition import (
    Mode,
    Style,
)
from cmi_bench.data.synthetic.degradation import Fault
from cmi_bench.data.synthetic.instruments import stream
from cmi_bench.data.synthetic.labels import Verdict, compare, confidence, mean_opinion, write_lyrics, write_prompt

PLAN = plan_mini()
HARM = {clip.path: max((damage.strength for damage in clip.damages), default=0.0) for clip in PLAN.clips}


def test_damage_lowers_the_mean_opinion():
    for source in ("PAM (music)", "MusicEval"):
        rows = [row for row in PLAN.rows if row["source"] == source]
        harms = [HARM[row["audio-path"]] for row in rows]
        assert spearmanr(harms, [row["musicality"] for row in rows]).statistic < -0.9
        # Fit to the prompt is a matter of its own.
        assert abs(spearmanr(harms, [row["text-music alignment"] for row in rows]).statistic) < 0.4


def test_mean_opinions_are_on_the_scale():
    values = [row[field] for row in PLAN.rows for field in ("musicality", "text-music alignment") if field in row]
    assert min(values) >= 1
    assert max(values) <= 5
    assert len(set(values)) > 20


def test_preferences_for_musicality_follow_the_damage():
    for row in PLAN.rows:
        label = parse_preference(row.get("preference", row.get("preference-musicality")))
        if label in (Preference.A, Preference.B):
            winner, loser = ("audio-path", "audio2") if label is Preference.A else ("audio2", "audio-path")
            assert HARM[row[winner]] < HARM[row[loser]]
        elif label is Preference.BOTH:
            assert HARM[row["audio-path"]] == HARM[row["audio2"]]


def test_preferences_never_contradict_one_another():
    for field in ("preference-musicality", "preference-alignment"):
        beats = set()
        for row in PLAN.rows:
            label = parse_preference(row.get(field))
            if label in (Preference.A, Preference.B):
                pair = (row["audio-path"], row["audio2"])
                beats.add(pair if label is Preference.A else pair[::-1])
        assert not any((loser, winner) in beats for winner, loser in beats)
        assert not any((c, a) in beats for a, b in beats for b2, c in beats if b == b2)


def test_the_two_judgements_are_not_one():
    pairs = [row for row in PLAN.rows if "preference-alignment" in row]
    equal = [row["preference-musicality"] == row["preference-alignment"] for row in pairs]
    assert 0.2 < sum(equal) / len(equal) < 0.8


def test_every_fault_occurs():
    assert {damage.fault for clip in PLAN.clips for damage in clip.damages} == set(Fault)


def test_references_are_whole():
    assert all(not clip.damages for clip in PLAN.clips if "ref-audio" in clip.path)


def test_compare():
    assert compare(0.9, 0.2) is Verdict.A
    assert compare(0.2, 0.9) is Verdict.B
    assert compare(0.9, 0.89) is Verdict.TIE
    assert compare(0.1, 0.1) is Verdict.BOTH_BAD


def test_raters_agree_on_extremes():
    assert mean_opinion(0.0, 50, stream(9)) < 1.5
    assert mean_opinion(1.0, 50, stream(9)) > 4.5
    assert 2.6 < mean_opinion(0.5, 50, stream(9)) < 3.4


def test_larger_differences_make_surer():
    def mean_confidence(difference: float) -> float:
        texts = [confidence(difference, 0.0, stream(9, number)) for number in range(60)]
        return sum(float(text) for text in texts if text) / sum(map(bool, texts))

    assert mean_confidence(0.1) < mean_confidence(0.4) < mean_confidence(0.9)


STYLE = Style(genre="rock", tonic=9, mode=Mode.MINOR, tempo=132, lead="piano", drums=True)


def test_prompts_say_what_is_asked():
    for number in range(20):
        prompt = write_prompt(STYLE, stream(9, number)).lower()
        assert "rock" in prompt
        assert "piano" in prompt
        assert "with drums" in prompt
        assert "minor" in prompt or "dark" in prompt
        assert "132" in prompt or "fast" in prompt


def test_lyrics_are_four_lines():
    assert len(write_lyrics(stream(9)).splitlines()) == 4
