"""PAM in small: six prompts, five systems, mean opinions of musicality and of fit to the prompt."""

from cmi_bench.data import fields
from cmi_bench.data.mini.clips import ClipPlan
from cmi_bench.data.mini.damage import draw_damages
from cmi_bench.data.mini.part import AUDIO, FAULTS, LABELS, PAM_ID, WISH, Part
from cmi_bench.data.mini.prompts import write_prompt
from cmi_bench.data.mini.raters import mean_opinion
from cmi_bench.data.mini.seeds import stream
from cmi_bench.data.mini.styles import agreement, draw_style, drift

PROMPTS = 6
SYSTEMS = ("alder", "birch", "cedar", "elder", "maple")
RATERS = 10
HARMS = (0.0, 0.25, 0.5, 0.75, 1.0)
DRIFTS = (0, 1, 2, 3, 5)
"""Each prompt's five clips have these harms and these drifts from the prompt, in orders of their own."""
SAMPLING_RATES = (24000, 32000, 44100)
SHORT_SECONDS, LONG_SECONDS = (4.0, 5.5), (10.0, 12.0)
LONG_PROMPT = 4
"""The prompt whose clips are long enough for the first group by duration."""


def build_pam() -> Part:
    """Return 30 test rows and one training row."""
    part = Part([], [])
    for prompt_id in range(PROMPTS):
        _add_prompt(part, prompt_id)
    part.rows.append({**part.rows[0], fields.SPLIT: "train"})
    return part


def _add_prompt(part: Part, prompt_id: int) -> None:
    rng = stream(PAM_ID, WISH, prompt_id)
    labels = stream(PAM_ID, LABELS, prompt_id)
    wish = draw_style(rng)
    prompt = write_prompt(wish, rng)
    harms, drifts = rng.permutation(HARMS), rng.permutation(DRIFTS)
    sr = SAMPLING_RATES[prompt_id % len(SAMPLING_RATES)]
    for number, (system, harm, steps) in enumerate(zip(SYSTEMS, harms, drifts, strict=True)):
        path = f"human_eval/music/{system}/{prompt_id:02d}.wav"
        style = drift(wish, int(steps), rng)
        seconds = rng.uniform(*(LONG_SECONDS if prompt_id == LONG_PROMPT else SHORT_SECONDS))
        part.clips.append(
            ClipPlan(
                path=path,
                style=style,
                damages=draw_damages(float(harm), stream(PAM_ID, FAULTS, prompt_id, number)),
                seconds=round(float(seconds), 2),
                sr=sr,
                channels=1,
                seed=(PAM_ID, AUDIO, prompt_id, number),
            )
        )
        part.rows.append(
            {
                fields.SOURCE: "PAM (music)",
                fields.SPLIT: "test",
                fields.AUDIO_A: path,
                fields.PROMPT: prompt,
                "prompt id": f"pam-{prompt_id:02d}",
                "model_a": system,
                fields.MUSICALITY_MOS: mean_opinion(1 - float(harm), RATERS, labels),
                fields.ALIGNMENT_MOS: mean_opinion(agreement(wish, style), RATERS, labels),
            }
        )
