"""Music Arena in small: battles of two systems over five months, decided by musicality, with a few ties."""

import numpy as np

from cmi_bench.data import fields
from cmi_bench.data.mini.clips import ClipPlan
from cmi_bench.data.mini.damage import draw_damages
from cmi_bench.data.mini.part import AUDIO, FAULTS, LABELS, MUSIC_ARENA_ID, WISH, Part
from cmi_bench.data.mini.prompts import write_lyrics, write_prompt
from cmi_bench.data.mini.raters import Verdict, compare
from cmi_bench.data.mini.seeds import stream
from cmi_bench.data.mini.styles import draw_style, drift

BATTLES_BY_MONTH = {"01-2025JULAUG": 9, "02-2025SEP": 5, "03-2025OCT": 6, "04-2025NOV": 4, "05-2025DEC": 5}
SYSTEMS = ("heron", "osprey", "plover", "sandpiper")
PROMPT_COUNT = 20
"""Fewer than battles: prompts come again."""
TIED_HARMS = {4: 0.1, 11: 0.9, 17: 0.2, 23: 0.8}
"""Battles of two clips that are equally good or equally bad."""
OLD_SPELLING = {Verdict.TIE: "both", Verdict.BOTH_BAD: "neither"}
OLD_SPELLING_FROM = 15
"""From this battle on, ties are spelt as in older files."""
SHORT_SECONDS, MEDIUM_SECONDS, LONG_SECONDS = (4.0, 4.6), (10.0, 11.0), (30.2, 31.0)
MEDIUM_BATTLES, LONG_BATTLE = (2, 12, 21), 7
SAMPLING_RATES = (24000, 44100, 24000, 32000, 24000)
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


def _length(battle: int) -> tuple[float, float]:
    if battle == LONG_BATTLE:
        return LONG_SECONDS
    return MEDIUM_SECONDS if battle in MEDIUM_BATTLES else SHORT_SECONDS


def _add_battle(part: Part, battle: int, month: str) -> None:
    prompt_id = battle % PROMPT_COUNT
    wishes = stream(MUSIC_ARENA_ID, WISH, prompt_id)
    vocal = prompt_id % 3 == 0
    wish = draw_style(wishes, vocal=vocal)
    prompt, lyrics = write_prompt(wish, wishes), write_lyrics(wishes) if vocal else ""
    rng = stream(MUSIC_ARENA_ID, AUDIO, battle)
    harms = _draw_harms(battle, rng)
    systems = rng.permutation(SYSTEMS)[:2]
    paths = [f"MusicArena_data/audio_files/{month}/battle-{battle:02d}-{side}.mp3" for side in "ab"]
    for side, (path, harm) in enumerate(zip(paths, harms, strict=True)):
        part.clips.append(
            ClipPlan(
                path=path,
                style=drift(wish, int(rng.integers(2)), rng),
                damages=draw_damages(harm, stream(MUSIC_ARENA_ID, FAULTS, battle, side)),
                seconds=round(float(rng.uniform(*_length(battle))), 2),
                sr=SAMPLING_RATES[prompt_id % len(SAMPLING_RATES)],
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
