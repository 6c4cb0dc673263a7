"""PAM in small: prompts, five systems, mean opinions of musicality and of fit to the prompt.

MusicEval in small: single clips at 16 kHz with mean opinions of experts.
"""

from typing import NamedTuple

from cmi_bench.data import fields
from cmi_bench.data.synthetic.composition import MAX_DRIFT, agreement, draw_style, drift
from cmi_bench.data.synthetic.degradation import ClipPlan, draw_damages
from cmi_bench.data.synthetic.labels import (
    AUDIO,
    FAULTS,
    LABELS,
    MUSIC_EVAL_ID,
    PAM_ID,
    WISH,
    MiniSplit,
    Part,
    mean_opinion,
    write_prompt,
)


class PamSize(NamedTuple):
    """How much of PAM."""

    prompts: int
    long_prompt: int | None
    """The prompt whose clips are long enough for the first group by duration."""


PAM_SIZES = {MiniSplit.TEST: PamSize(6, long_prompt=4), MiniSplit.TRAIN: PamSize(22, long_prompt=None)}
PAM_SYSTEMS = ("alder", "birch", "cedar", "elder", "maple")
PAM_RATERS = 10
PAM_HARMS = (0.0, 0.25, 0.5, 0.75, 1.0)
PAM_DRIFTS = (0, 1, 2, 3, 5)
"""Each prompt's five clips have these harms and these drifts from the prompt, in orders of their own."""
PAM_SAMPLING_RATES = (24000, 32000, 44100)
PAM_SHORT_SECONDS, PAM_LONG_SECONDS = (4.0, 5.5), (10.0, 12.0)


def build_pam(split: MiniSplit) -> Part:
    """Return 30 test rows and one that says it is for training, or 110 training rows."""
    part = Part([], [])
    for prompt_id in range(PAM_SIZES[split].prompts):
        _add_pam_prompt(part, split, prompt_id)
    return part.with_left_out(0) if split is MiniSplit.TEST else part


def _add_pam_prompt(part: Part, split: MiniSplit, prompt_id: int) -> None:
    rng = split.stream(PAM_ID, WISH, prompt_id)
    labels = split.stream(PAM_ID, LABELS, prompt_id)
    wish = draw_style(rng)
    prompt = write_prompt(wish, rng)
    harms, drifts = rng.permutation(PAM_HARMS), rng.permutation(PAM_DRIFTS)
    sr = PAM_SAMPLING_RATES[prompt_id % len(PAM_SAMPLING_RATES)]
    for number, (system, harm, steps) in enumerate(zip(PAM_SYSTEMS, harms, drifts, strict=True)):
        path = f"human_eval/music/{system}/{split.named(prompt_id, 2)}.wav"
        style = drift(wish, int(steps), rng)
        is_long = prompt_id == PAM_SIZES[split].long_prompt
        seconds = rng.uniform(*(PAM_LONG_SECONDS if is_long else PAM_SHORT_SECONDS))
        part.clips.append(
            ClipPlan(
                path=path,
                style=style,
                damages=draw_damages(float(harm), split.stream(PAM_ID, FAULTS, prompt_id, number)),
                seconds=round(float(seconds), 2),
                sr=sr,
                channels=1,
                seed=split.seed(PAM_ID, AUDIO, prompt_id, number),
            )
        )
        part.rows.append(
            {
                fields.SOURCE: "PAM (music)",
                fields.SPLIT: str(split),
                fields.AUDIO_A: path,
                fields.PROMPT: prompt,
                "prompt id": f"pam-{split.named(prompt_id, 2)}",
                "model_a": system,
                fields.MUSICALITY_MOS: mean_opinion(1 - float(harm), PAM_RATERS, labels),
                fields.ALIGNMENT_MOS: mean_opinion(agreement(wish, style), PAM_RATERS, labels),
            }
        )


EVAL_CLIPS = {MiniSplit.TEST: 25, MiniSplit.TRAIN: 100}
EVAL_RATERS = 5
EVAL_SAMPLING_RATE = 16000
EVAL_SHORT_SECONDS, EVAL_MEDIUM_SECONDS, EVAL_LONG_SECONDS = (4.0, 6.0), (10.0, 14.0), (30.5, 31.5)
EVAL_MEDIUM_EVERY, EVAL_LONG_CLIP = 6, 13
"""Of the test clips."""


def build_music_eval(split: MiniSplit) -> Part:
    """Return 25 test rows and one that says it is for training, or 100 training rows."""
    part = Part([], [])
    clips = EVAL_CLIPS[split]
    # Evenly spread harms, so that 25 clips say something about a rank correlation.
    harms = split.stream(MUSIC_EVAL_ID, WISH).permutation(clips) / (clips - 1)
    for number, harm in enumerate(harms):
        _add_eval_clip(part, split, number, float(harm))
    return part.with_left_out(0) if split is MiniSplit.TEST else part


def _eval_length(split: MiniSplit, number: int) -> tuple[float, float]:
    if split is MiniSplit.TRAIN:
        return EVAL_SHORT_SECONDS
    if number == EVAL_LONG_CLIP:
        return EVAL_LONG_SECONDS
    return EVAL_MEDIUM_SECONDS if number % EVAL_MEDIUM_EVERY == 0 else EVAL_SHORT_SECONDS


def _add_eval_clip(part: Part, split: MiniSplit, number: int, harm: float) -> None:
    rng = split.stream(MUSIC_EVAL_ID, WISH, number)
    labels = split.stream(MUSIC_EVAL_ID, LABELS, number)
    wish = draw_style(rng)
    prompt = write_prompt(wish, rng)
    style = drift(wish, int(rng.integers(MAX_DRIFT + 1)), rng)
    path = f"MusicEval_data/{split}_audio/{split.named(number, 1)}.wav"
    part.clips.append(
        ClipPlan(
            path=path,
            style=style,
            damages=draw_damages(harm, split.stream(MUSIC_EVAL_ID, FAULTS, number)),
            seconds=round(float(rng.uniform(*_eval_length(split, number))), 2),
            sr=EVAL_SAMPLING_RATE,
            channels=1,
            seed=split.seed(MUSIC_EVAL_ID, AUDIO, number),
        )
    )
    part.rows.append(
        {
            fields.SOURCE: "MusicEval",
            fields.SPLIT: str(split),
            fields.AUDIO_A: path,
            fields.PROMPT: prompt,
            fields.MUSICALITY_MOS: mean_opinion(1 - harm, EVAL_RATERS, labels),
            fields.ALIGNMENT_MOS: mean_opinion(agreement(wish, style), EVAL_RATERS, labels),
        }
    )
