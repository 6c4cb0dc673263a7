"""MusicEval in small: single clips at 16 kHz with mean opinions of experts."""

from cmi_bench.data import fields
from cmi_bench.data.mini.clips import ClipPlan
from cmi_bench.data.mini.damage import draw_damages
from cmi_bench.data.mini.part import AUDIO, FAULTS, LABELS, MUSIC_EVAL_ID, WISH, Part
from cmi_bench.data.mini.prompts import write_prompt
from cmi_bench.data.mini.raters import mean_opinion
from cmi_bench.data.mini.seeds import stream
from cmi_bench.data.mini.styles import MAX_DRIFT, agreement, draw_style, drift

CLIPS = 25
RATERS = 5
SAMPLING_RATE = 16000
SHORT_SECONDS, MEDIUM_SECONDS, LONG_SECONDS = (4.0, 6.0), (10.0, 14.0), (30.5, 31.5)
MEDIUM_EVERY, LONG_CLIP = 6, 13


def build_music_eval() -> Part:
    """Return 25 test rows and one training row."""
    part = Part([], [])
    # Evenly spread harms, so that 25 clips say something about a rank correlation.
    harms = stream(MUSIC_EVAL_ID, WISH).permutation(CLIPS) / (CLIPS - 1)
    for number, harm in enumerate(harms):
        _add_clip(part, number, float(harm))
    part.rows.append({**part.rows[0], fields.SPLIT: "train"})
    return part


def _length(number: int) -> tuple[float, float]:
    if number == LONG_CLIP:
        return LONG_SECONDS
    return MEDIUM_SECONDS if number % MEDIUM_EVERY == 0 else SHORT_SECONDS


def _add_clip(part: Part, number: int, harm: float) -> None:
    rng = stream(MUSIC_EVAL_ID, WISH, number)
    labels = stream(MUSIC_EVAL_ID, LABELS, number)
    wish = draw_style(rng)
    prompt = write_prompt(wish, rng)
    style = drift(wish, int(rng.integers(MAX_DRIFT + 1)), rng)
    path = f"MusicEval_data/test_audio/{number}.wav"
    part.clips.append(
        ClipPlan(
            path=path,
            style=style,
            damages=draw_damages(harm, stream(MUSIC_EVAL_ID, FAULTS, number)),
            seconds=round(float(rng.uniform(*_length(number))), 2),
            sr=SAMPLING_RATE,
            channels=1,
            seed=(MUSIC_EVAL_ID, AUDIO, number),
        )
    )
    part.rows.append(
        {
            fields.SOURCE: "MusicEval",
            fields.SPLIT: "test",
            fields.AUDIO_A: path,
            fields.PROMPT: prompt,
            fields.MUSICALITY_MOS: mean_opinion(1 - harm, RATERS, labels),
            fields.ALIGNMENT_MOS: mean_opinion(agreement(wish, style), RATERS, labels),
        }
    )
