"""Music Arena in small: battles of two systems over five months, decided by musicality, with a few ties.

CMI-Pref in small: pairs judged twice (fit to the instruction, musicality), in four conditions.
"""

from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from cmi_bench.data import fields
from cmi_bench.data.synthetic.composition import Style, agreement, draw_style, drift
from cmi_bench.data.synthetic.degradation import ClipPlan, draw_damages
from cmi_bench.data.synthetic.instruments import stream
from cmi_bench.data.synthetic.labels import (
    AUDIO,
    CMI_PREF_ID,
    FAULTS,
    LABELS,
    MUSIC_ARENA_ID,
    WISH,
    Part,
    Verdict,
    compare,
    confidence,
    write_lyrics,
    write_prompt,
    write_reference_prompt,
)

BATTLES_BY_MONTH = {"01-2025JULAUG": 9, "02-2025SEP": 5, "03-2025OCT": 6, "04-2025NOV": 4, "05-2025DEC": 5}
ARENA_SYSTEMS = ("heron", "osprey", "plover", "sandpiper")
PROMPT_COUNT = 20
"""Fewer than battles: prompts come again."""
TIED_HARMS = {4: 0.1, 11: 0.9, 17: 0.2, 23: 0.8}
"""Battles of two clips that are equally good or equally bad."""
OLD_SPELLING = {Verdict.TIE: "both", Verdict.BOTH_BAD: "neither"}
OLD_SPELLING_FROM = 15
"""From this battle on, ties are spelt as in older files."""
ARENA_SHORT_SECONDS, ARENA_MEDIUM_SECONDS, ARENA_LONG_SECONDS = (4.0, 4.6), (10.0, 11.0), (30.2, 31.0)
MEDIUM_BATTLES, LONG_BATTLE = (2, 12, 21), 7
ARENA_SAMPLING_RATES = (24000, 44100, 24000, 32000, 24000)
STEREO_PROMPTS = (4, 10, 16)


def build_music_arena() -> Part:
    """Return 29 test rows and one training row."""
    part = Part([], [])
    months = [month for month, count in BATTLES_BY_MONTH.items() for _ in range(count)]
    for battle, month in enumerate(months):
        _add_battle(part, battle, month)
    part.rows.append({**part.rows[0], fields.SPLIT: "train"})
    return part


def _draw_harms(battle: int, rng: np.random.Generator) -> tuple[float, float]:
    if battle in TIED_HARMS:
        return TIED_HARMS[battle], TIED_HARMS[battle]
    better = rng.uniform(0.0, 0.5)
    worse = better + rng.uniform(0.25, 0.5)
    # A permutation rather than coins: each side wins equally often.
    a_wins = stream(MUSIC_ARENA_ID, LABELS).permutation(sum(BATTLES_BY_MONTH.values()))[battle] % 2
    return (better, worse) if a_wins else (worse, better)


def _arena_length(battle: int) -> tuple[float, float]:
    if battle == LONG_BATTLE:
        return ARENA_LONG_SECONDS
    return ARENA_MEDIUM_SECONDS if battle in MEDIUM_BATTLES else ARENA_SHORT_SECONDS


def _add_battle(part: Part, battle: int, month: str) -> None:
    prompt_id = battle % PROMPT_COUNT
    wishes = stream(MUSIC_ARENA_ID, WISH, prompt_id)
    vocal = prompt_id % 3 == 0
    wish = draw_style(wishes, vocal=vocal)
    prompt, lyrics = write_prompt(wish, wishes), write_lyrics(wishes) if vocal else ""
    rng = stream(MUSIC_ARENA_ID, AUDIO, battle)
    harms = _draw_harms(battle, rng)
    systems = rng.permutation(ARENA_SYSTEMS)[:2]
    paths = [f"MusicArena_data/audio_files/{month}/battle-{battle:02d}-{side}.mp3" for side in "ab"]
    for side, (path, harm) in enumerate(zip(paths, harms, strict=True)):
        part.clips.append(
            ClipPlan(
                path=path,
                style=drift(wish, int(rng.integers(2)), rng),
                damages=draw_damages(harm, stream(MUSIC_ARENA_ID, FAULTS, battle, side)),
                seconds=round(float(rng.uniform(*_arena_length(battle))), 2),
                sr=ARENA_SAMPLING_RATES[prompt_id % len(ARENA_SAMPLING_RATES)],
                channels=2 if prompt_id in STEREO_PROMPTS else 1,
                seed=(MUSIC_ARENA_ID, AUDIO, battle, side),
            )
        )
    verdict = compare(1 - harms[0], 1 - harms[1])
    part.rows.append(
        {
            fields.SOURCE: f"Music Arena ['{month}']",
            fields.SPLIT: "test",
            fields.AUDIO_A: paths[0],
            fields.AUDIO_B: paths[1],
            fields.PROMPT: prompt,
            fields.LYRICS: lyrics,
            "model_a": str(systems[0]),
            "model_b": str(systems[1]),
            "prompt id": f"arena-{prompt_id:02d}",
            "user id": f"visitor-{int(rng.integers(8))}",
            fields.PREFERENCE: OLD_SPELLING.get(verdict, verdict) if battle >= OLD_SPELLING_FROM else str(verdict),
        }
    )


PREF_SYSTEMS = ("lynx", "marten", "otter")
GROUPS_PER_CONDITION = 3
"""A group is one instruction and a clip from each system: three clips, so three pairs that repeat each clip."""
PREF_HARMS = (0.05, 0.4, 0.85)
PREF_DRIFTS = (0, 2, 5)
SECONDS, PREF_LONG_SECONDS, REFERENCE_SECONDS = (4.0, 4.6), (10.0, 11.0), (5.0, 6.0)
LONG_GROUP = 8
EQUALLY_GOOD, EQUALLY_FITTING = (3, 10), (6, 10)
"""Groups whose first two clips are tied in musicality, in alignment."""
PREF_SAMPLING_RATES = (24000, 32000, 24000, 24000, 44100, 24000)
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


PAIRS_PER_GROUP = len(list(combinations(PREF_SYSTEMS, 2)))
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
    harms, drifts = rng.permutation(PREF_HARMS), rng.permutation(PREF_DRIFTS)
    if group in EQUALLY_GOOD:
        harms[1] = harms[0]
    if group in EQUALLY_FITTING:
        drifts[1] = drifts[0]
    candidates = []
    for number, (system, harm, steps) in enumerate(zip(PREF_SYSTEMS, harms, drifts, strict=True)):
        # A clip that is to fit as well as the first is drifted by its stream: it misses the wish in the same way.
        drifted_as = 0 if group in EQUALLY_FITTING and number == 1 else number
        style = drift(instruction.wish, int(steps), stream(CMI_PREF_ID, WISH, group, 3, drifted_as))
        path = f"cmi-pref/gen-audio/{system}-{group:03d}.mp3"
        part.clips.append(
            ClipPlan(
                path=path,
                style=style,
                damages=draw_damages(float(harm), stream(CMI_PREF_ID, FAULTS, group, number)),
                seconds=round(float(rng.uniform(*(PREF_LONG_SECONDS if group == LONG_GROUP else SECONDS))), 2),
                sr=PREF_SAMPLING_RATES[group % len(PREF_SAMPLING_RATES)],
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
