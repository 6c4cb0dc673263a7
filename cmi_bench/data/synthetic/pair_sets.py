"""Music Arena in small: battles of two systems over five months, decided by musicality, with a few ties.

CMI-Pref in small: pairs judged twice (fit to the instruction, musicality), in four conditions.
"""

from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from cmi_bench.data import fields
from cmi_bench.data.synthetic.composition import Style, agreement, draw_style, drift
from cmi_bench.data.synthetic.degradation import ClipPlan, draw_damages
from cmi_bench.data.synthetic.labels import (
    AUDIO,
    CMI_PREF_ID,
    FAULTS,
    LABELS,
    MUSIC_ARENA_ID,
    WISH,
    MiniSplit,
    Part,
    Verdict,
    compare,
    confidence,
    write_lyrics,
    write_prompt,
    write_reference_prompt,
)

MONTHS = ("01-2025JULAUG", "02-2025SEP", "03-2025OCT", "04-2025NOV", "05-2025DEC")


class ArenaSize(NamedTuple):
    """How much of Music Arena."""

    battles: tuple[int, ...]
    """In each of `MONTHS`."""
    prompts: int
    """Fewer than battles: prompts come again."""
    tied_harms: dict[int, float]
    """Battles of two clips that are equally good or equally bad."""
    medium_battles: tuple[int, ...] = ()
    long_battles: tuple[int, ...] = ()
    stereo_prompts: tuple[int, ...] = ()


ARENA_SIZES = {
    MiniSplit.TEST: ArenaSize(
        battles=(9, 5, 6, 4, 5),
        prompts=20,
        tied_harms={4: 0.1, 11: 0.9, 17: 0.2, 23: 0.8},
        medium_battles=(2, 12, 21),
        long_battles=(7,),
        stereo_prompts=(4, 10, 16),
    ),
    MiniSplit.TRAIN: ArenaSize(
        battles=(22, 22, 22, 22, 22),
        prompts=76,
        tied_harms={5: 0.1, 12: 0.9, 20: 0.3, 31: 0.8, 44: 0.2, 53: 1.0, 62: 0.0, 71: 0.7, 80: 0.4, 89: 0.9, 101: 0.2},
    ),
}
ARENA_SYSTEMS = ("heron", "osprey", "plover", "sandpiper")
OLD_SPELLING = {Verdict.TIE: "both", Verdict.BOTH_BAD: "neither"}
OLD_SPELLING_FROM = 15
"""From this battle on, ties are spelt as in older files."""
ARENA_SHORT_SECONDS, ARENA_MEDIUM_SECONDS, ARENA_LONG_SECONDS = (4.0, 4.6), (10.0, 11.0), (30.2, 31.0)
ARENA_SAMPLING_RATES = (24000, 44100, 24000, 32000, 24000)


def build_music_arena(split: MiniSplit) -> Part:
    """Return 29 test rows and one that says it is for training, or 110 training rows."""
    part = Part([], [])
    counts = zip(MONTHS, ARENA_SIZES[split].battles, strict=True)
    for battle, month in enumerate(month for month, count in counts for _ in range(count)):
        _add_battle(part, split, battle, month)
    return part.with_left_out(0) if split is MiniSplit.TEST else part


def _draw_harms(split: MiniSplit, battle: int, rng: np.random.Generator) -> tuple[float, float]:
    size = ARENA_SIZES[split]
    if battle in size.tied_harms:
        return size.tied_harms[battle], size.tied_harms[battle]
    better = rng.uniform(0.0, 0.5)
    worse = better + rng.uniform(0.25, 0.5)
    # A permutation rather than coins: each side wins equally often.
    a_wins = split.stream(MUSIC_ARENA_ID, LABELS).permutation(sum(size.battles))[battle] % 2
    return (better, worse) if a_wins else (worse, better)


def _arena_length(size: ArenaSize, battle: int) -> tuple[float, float]:
    if battle in size.long_battles:
        return ARENA_LONG_SECONDS
    return ARENA_MEDIUM_SECONDS if battle in size.medium_battles else ARENA_SHORT_SECONDS


def _add_battle(part: Part, split: MiniSplit, battle: int, month: str) -> None:
    size = ARENA_SIZES[split]
    prompt_id = battle % size.prompts
    wishes = split.stream(MUSIC_ARENA_ID, WISH, prompt_id)
    vocal = prompt_id % 3 == 0
    wish = draw_style(wishes, vocal=vocal)
    prompt, lyrics = write_prompt(wish, wishes), write_lyrics(wishes) if vocal else ""
    rng = split.stream(MUSIC_ARENA_ID, AUDIO, battle)
    harms = _draw_harms(split, battle, rng)
    systems = rng.permutation(ARENA_SYSTEMS)[:2]
    paths = [f"MusicArena_data/audio_files/{month}/battle-{split.named(battle, 2)}-{side}.mp3" for side in "ab"]
    for side, (path, harm) in enumerate(zip(paths, harms, strict=True)):
        part.clips.append(
            ClipPlan(
                path=path,
                style=drift(wish, int(rng.integers(2)), rng),
                damages=draw_damages(harm, split.stream(MUSIC_ARENA_ID, FAULTS, battle, side)),
                seconds=round(float(rng.uniform(*_arena_length(size, battle))), 2),
                sr=ARENA_SAMPLING_RATES[prompt_id % len(ARENA_SAMPLING_RATES)],
                channels=2 if prompt_id in size.stereo_prompts else 1,
                seed=split.seed(MUSIC_ARENA_ID, AUDIO, battle, side),
            )
        )
    verdict = compare(1 - harms[0], 1 - harms[1])
    part.rows.append(
        {
            fields.SOURCE: f"Music Arena ['{month}']",
            fields.SPLIT: str(split),
            fields.AUDIO_A: paths[0],
            fields.AUDIO_B: paths[1],
            fields.PROMPT: prompt,
            fields.LYRICS: lyrics,
            "model_a": str(systems[0]),
            "model_b": str(systems[1]),
            "prompt id": f"arena-{split.named(prompt_id, 2)}",
            "user id": f"visitor-{int(rng.integers(8))}",
            fields.PREFERENCE: OLD_SPELLING.get(verdict, verdict) if battle >= OLD_SPELLING_FROM else str(verdict),
        }
    )


class PrefSize(NamedTuple):
    """How much of CMI-Pref."""

    groups_per_condition: int
    """A group is one instruction and a clip from each system: three clips, so three pairs that repeat each clip."""
    equally_good: tuple[int, ...]
    """Groups whose first two clips are tied in musicality."""
    equally_fitting: tuple[int, ...]
    """Groups whose first two clips are tied in alignment."""
    long_groups: tuple[int, ...] = ()
    stereo_groups: tuple[int, ...] = ()


PREF_SIZES = {
    MiniSplit.TEST: PrefSize(3, equally_good=(3, 10), equally_fitting=(6, 10), long_groups=(8,), stereo_groups=(0, 5)),
    MiniSplit.TRAIN: PrefSize(7, equally_good=(3, 10, 18, 25), equally_fitting=(6, 10, 15, 22)),
}
PREF_SYSTEMS = ("lynx", "marten", "otter")
PREF_HARMS = (0.05, 0.4, 0.85)
PREF_DRIFTS = (0, 2, 5)
SECONDS, PREF_LONG_SECONDS, REFERENCE_SECONDS = (4.0, 4.6), (10.0, 11.0), (5.0, 6.0)
PREF_SAMPLING_RATES = (24000, 32000, 24000, 24000, 44100, 24000)
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


def build_cmi_pref(split: MiniSplit) -> Part:
    """Return 36 test rows and two that say they are for training, or 84 training rows; as many of each condition."""
    part = Part([], [])
    repeats = PREF_SIZES[split].groups_per_condition
    for number, condition in enumerate(CONDITIONS):
        for repeat in range(repeats):
            _add_group(part, split, number * repeats + repeat, condition)
    return part.with_left_out(0, -1) if split is MiniSplit.TEST else part


def _instruct(part: Part, split: MiniSplit, group: int, condition: Condition) -> _Instruction:
    """Write an instruction; a group without a reference wishes for the same as its fellow with one."""
    repeats = PREF_SIZES[split].groups_per_condition
    wish_id = group % repeats + repeats * condition.has_lyrics
    wish = draw_style(split.stream(CMI_PREF_ID, WISH, wish_id), vocal=condition.has_lyrics)
    rng = split.stream(CMI_PREF_ID, WISH, wish_id, int(condition.has_reference))
    lyrics = write_lyrics(split.stream(CMI_PREF_ID, WISH, wish_id, 2)) if condition.has_lyrics else ""
    if not condition.has_reference:
        return _Instruction(wish, write_prompt(wish, rng), lyrics, "", condition)
    path = f"cmi-pref/ref-audio/{split.named(wish_id, 3)}.mp3"
    seconds = round(float(rng.uniform(*REFERENCE_SECONDS)), 2)
    part.clips.append(ClipPlan(path, wish, (), seconds, 32000, 1, split.seed(CMI_PREF_ID, AUDIO, 100 + wish_id)))
    return _Instruction(wish, write_reference_prompt(wish, rng), lyrics, path, condition)


def _draw_candidates(part: Part, split: MiniSplit, group: int, instruction: _Instruction) -> list[_Candidate]:
    size = PREF_SIZES[split]
    rng = split.stream(CMI_PREF_ID, AUDIO, group)
    harms, drifts = rng.permutation(PREF_HARMS), rng.permutation(PREF_DRIFTS)
    if group in size.equally_good:
        harms[1] = harms[0]
    if group in size.equally_fitting:
        drifts[1] = drifts[0]
    candidates = []
    for number, (system, harm, steps) in enumerate(zip(PREF_SYSTEMS, harms, drifts, strict=True)):
        # A clip that is to fit as well as the first is drifted by its stream: it misses the wish in the same way.
        drifted_as = 0 if group in size.equally_fitting and number == 1 else number
        style = drift(instruction.wish, int(steps), split.stream(CMI_PREF_ID, WISH, group, 3, drifted_as))
        path = f"cmi-pref/gen-audio/{system}-{split.named(group, 3)}.mp3"
        part.clips.append(
            ClipPlan(
                path=path,
                style=style,
                damages=draw_damages(float(harm), split.stream(CMI_PREF_ID, FAULTS, group, number)),
                seconds=round(float(rng.uniform(*(PREF_LONG_SECONDS if group in size.long_groups else SECONDS))), 2),
                sr=PREF_SAMPLING_RATES[group % len(PREF_SAMPLING_RATES)],
                channels=2 if group in size.stereo_groups else 1,
                seed=split.seed(CMI_PREF_ID, AUDIO, group, number),
            )
        )
        candidates.append(_Candidate(path, system, 1 - float(harm), agreement(instruction.wish, style)))
    return candidates


def _add_group(part: Part, split: MiniSplit, group: int, condition: Condition) -> None:
    instruction = _instruct(part, split, group, condition)
    candidates = _draw_candidates(part, split, group, instruction)
    rng = split.stream(CMI_PREF_ID, LABELS, group)
    pairs = len(CONDITIONS) * PREF_SIZES[split].groups_per_condition * PAIRS_PER_GROUP
    for number, pair in enumerate(combinations(candidates, 2)):
        better, worse = sorted(pair, key=lambda candidate: -candidate.musicality)
        # A permutation rather than coins: each side wins equally often.
        a_wins = split.stream(CMI_PREF_ID, LABELS).permutation(pairs)[PAIRS_PER_GROUP * group + number] % 2
        first, second = (better, worse) if a_wins else (worse, better)
        part.rows.append(_row(first, second, instruction, split, group, rng))


def _row(
    first: _Candidate,
    second: _Candidate,
    instruction: _Instruction,
    split: MiniSplit,
    group: int,
    rng: np.random.Generator,
) -> dict[str, Any]:
    musicality, alignment = (first.musicality, second.musicality), (first.alignment, second.alignment)
    row = {
        fields.SOURCE: "cmi-arena-annotation",
        fields.SPLIT: str(split),
        fields.AUDIO_A: first.path,
        fields.AUDIO_B: second.path,
        fields.REF_AUDIO: instruction.reference,
        fields.PROMPT: instruction.prompt,
        fields.LYRICS: instruction.lyrics,
        "prompt id": f"cmi-{split.named(group, 3)}",
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
