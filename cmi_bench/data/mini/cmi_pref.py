"""CMI-Pref in small: pairs judged twice (fit to the instruction, musicality), in four conditions."""

from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from cmi_bench.data import fields
from cmi_bench.data.mini.clips import ClipPlan
from cmi_bench.data.mini.damage import draw_damages
from cmi_bench.data.mini.part import AUDIO, CMI_PREF_ID, FAULTS, LABELS, WISH, Part
from cmi_bench.data.mini.prompts import write_lyrics, write_prompt, write_reference_prompt
from cmi_bench.data.mini.raters import Verdict, compare, confidence
from cmi_bench.data.mini.seeds import stream
from cmi_bench.data.mini.styles import Style, agreement, draw_style, drift

SYSTEMS = ("lynx", "marten", "otter")
GROUPS_PER_CONDITION = 3
"""A group is one instruction and a clip from each system: three clips, so three pairs that repeat each clip."""
HARMS = (0.05, 0.4, 0.85)
DRIFTS = (0, 2, 5)
SECONDS, LONG_SECONDS, REFERENCE_SECONDS = (4.0, 4.6), (10.0, 11.0), (5.0, 6.0)
LONG_GROUP = 8
EQUALLY_GOOD, EQUALLY_FITTING = (3, 10), (6, 10)
"""Groups whose first two clips are tied in musicality, in alignment."""
SAMPLING_RATES = (24000, 32000, 24000, 24000, 44100, 24000)
STEREO_GROUPS = (0, 5)
VERDICTS = {Verdict.A: "model_a", Verdict.B: "model_b", Verdict.TIE: "both", Verdict.BOTH_BAD: "both"}


class Condition(NamedTuple):
    """What an instruction consists of."""

    modality: str
    has_lyrics: bool
    has_reference: bool


CONDITIONS = (
    Condition("text", False, False),
    Condition("text+lyrics", True, False),
    Condition("text+ref", False, True),
    Condition("text+lyrics+ref", True, True),
)


PAIRS_PER_GROUP = len(list(combinations(SYSTEMS, 2)))
PAIRS = len(CONDITIONS) * GROUPS_PER_CONDITION * PAIRS_PER_GROUP


class _Instruction(NamedTuple):
    wish: Style
    prompt: str
    lyrics: str
    reference: str
    condition: Condition


class _Candidate(NamedTuple):
    path: str
    system: str
    musicality: float
    alignment: float


def build_cmi_pref() -> Part:
    """Return 36 test rows, nine of each condition, and two training rows."""
    part = Part([], [])
    for number, condition in enumerate(CONDITIONS):
        for repeat in range(GROUPS_PER_CONDITION):
            _add_group(part, number * GROUPS_PER_CONDITION + repeat, condition)
    part.rows.extend([{**part.rows[index], fields.SPLIT: "train"} for index in (0, -1)])
    return part


def _instruct(part: Part, group: int, condition: Condition) -> _Instruction:
    """Write an instruction; a group without a reference wishes for the same as its fellow with one."""
    wish_id = group % GROUPS_PER_CONDITION + GROUPS_PER_CONDITION * condition.has_lyrics
    wish = draw_style(stream(CMI_PREF_ID, WISH, wish_id), vocal=condition.has_lyrics)
    rng = stream(CMI_PREF_ID, WISH, wish_id, int(condition.has_reference))
    lyrics = write_lyrics(stream(CMI_PREF_ID, WISH, wish_id, 2)) if condition.has_lyrics else ""
    if not condition.has_reference:
        return _Instruction(wish, write_prompt(wish, rng), lyrics, "", condition)
    path = f"cmi-pref/ref-audio/{wish_id:03d}.mp3"
    seconds = round(float(rng.uniform(*REFERENCE_SECONDS)), 2)
    part.clips.append(ClipPlan(path, wish, (), seconds, 32000, 1, (CMI_PREF_ID, AUDIO, 100 + wish_id)))
    return _Instruction(wish, write_reference_prompt(wish, rng), lyrics, path, condition)


def _draw_candidates(part: Part, group: int, instruction: _Instruction) -> list[_Candidate]:
    rng = stream(CMI_PREF_ID, AUDIO, group)
    harms, drifts = rng.permutation(HARMS), rng.permutation(DRIFTS)
    if group in EQUALLY_GOOD:
        harms[1] = harms[0]
    if group in EQUALLY_FITTING:
        drifts[1] = drifts[0]
    candidates = []
    for number, (system, harm, steps) in enumerate(zip(SYSTEMS, harms, drifts, strict=True)):
        # A clip that is to fit as well as the first is drifted by its stream: it misses the wish in the same way.
        drifted_as = 0 if group in EQUALLY_FITTING and number == 1 else number
        style = drift(instruction.wish, int(steps), stream(CMI_PREF_ID, WISH, group, 3, drifted_as))
        path = f"cmi-pref/gen-audio/{system}-{group:03d}.mp3"
        part.clips.append(
            ClipPlan(
                path=path,
                style=style,
                damages=draw_damages(float(harm), stream(CMI_PREF_ID, FAULTS, group, number)),
                seconds=round(float(rng.uniform(*(LONG_SECONDS if group == LONG_GROUP else SECONDS))), 2),
                sr=SAMPLING_RATES[group % len(SAMPLING_RATES)],
                channels=2 if group in STEREO_GROUPS else 1,
                seed=(CMI_PREF_ID, AUDIO, group, number),
            )
        )
        candidates.append(_Candidate(path, system, 1 - float(harm), agreement(instruction.wish, style)))
    return candidates


def _add_group(part: Part, group: int, condition: Condition) -> None:
    instruction = _instruct(part, group, condition)
    candidates = _draw_candidates(part, group, instruction)
    rng = stream(CMI_PREF_ID, LABELS, group)
    for number, pair in enumerate(combinations(candidates, 2)):
        better, worse = sorted(pair, key=lambda candidate: -candidate.musicality)
        # A permutation rather than coins: each side wins equally often.
        a_wins = stream(CMI_PREF_ID, LABELS).permutation(PAIRS)[PAIRS_PER_GROUP * group + number] % 2
        first, second = (better, worse) if a_wins else (worse, better)
        part.rows.append(_row(first, second, instruction, group, rng))


def _row(
    first: _Candidate, second: _Candidate, instruction: _Instruction, group: int, rng: np.random.Generator
) -> dict[str, Any]:
    musicality, alignment = (first.musicality, second.musicality), (first.alignment, second.alignment)
    row = {
        fields.SOURCE: "cmi-arena-annotation",
        fields.SPLIT: "test",
        fields.AUDIO_A: first.path,
        fields.AUDIO_B: second.path,
        fields.REF_AUDIO: instruction.reference,
        fields.PROMPT: instruction.prompt,
        fields.LYRICS: instruction.lyrics,
        "prompt id": f"cmi-{group:03d}",
        "user id": f"annotator-{int(rng.integers(5))}",
        "model_a": first.system,
        "model_b": second.system,
        fields.PREFERENCE_MUSICALITY: VERDICTS[compare(*musicality)],
        fields.PREFERENCE_ALIGNMENT: VERDICTS[compare(*alignment)],
        fields.CONFIDENCE_MUSICALITY: confidence(*musicality, rng),
        fields.CONFIDENCE_ALIGNMENT: confidence(*alignment, rng),
    }
    # Half of the groups say their condition, the others leave it to be read off what is not empty.
    return {**row, fields.MODALITY: instruction.condition.modality} if group % 2 else row
