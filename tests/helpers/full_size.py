"""Scored rows in the numbers of the real benchmark: 500 PAM, 413 MusicEval, 1,340 MusicArena, 500 CMI-Pref."""

from typing import Any

import numpy as np

MONTHS = {"01-2025JULAUG": 447, "02-2025SEP": 183, "03-2025OCT": 292, "04-2025NOV": 143, "05-2025DEC": 275}
SPLIT = {"split": "test"}


def full_size_rows(skill: float = 1.0, seed: int = 0) -> list[dict[str, Any]]:
    """2,753 rows; labels and texts are the same for every `skill` and model `seed`."""
    people, model = np.random.default_rng(0), np.random.default_rng(1000 + seed)
    return [*_cmi_pref(people, model, skill), *_pam(people, model, skill), *_music_eval(people, model, skill),
            *_arena(people, model, skill)]  # fmt: skip


def _mos(people, model, skill):
    worth = people.uniform(1, 5)
    label = float(np.clip(worth + people.normal(0, 0.4), 1, 5).round(1))
    return label, float(skill * worth + model.normal())


def _pair(people, model, skill):
    worth_a, worth_b = people.normal(size=2)
    side = bool(worth_a + people.normal() > worth_b + people.normal())
    return side, float(skill * worth_a + model.normal()), float(skill * worth_b + model.normal())


def _pam(people, model, skill):
    for i in range(500):
        (music, music_score), (align, align_score) = _mos(people, model, skill), _mos(people, model, skill)
        yield SPLIT | {
            "source": "PAM (music)", "audio-path": f"human_eval/music/s{i % 5}/{i}.wav", "prompt": f"pam {i // 5}",
            "musicality": music, "text-music alignment": align,
            "predicted_musicality": music_score, "predicted_text-music alignment": align_score,
        }  # fmt: skip


def _music_eval(people, model, skill):
    for i in range(413):
        label, score = _mos(people, model, skill)
        yield SPLIT | {
            "source": "MusicEval", "audio-path": f"MusicEval_data/test_audio/{i}.wav", "prompt": f"eval {i % 384}",
            "musicality": label, "predicted_musicality": score,
        }  # fmt: skip


def _arena(people, model, skill):
    for i, month in enumerate(month for month, count in MONTHS.items() for _ in range(count)):
        side, a, b = _pair(people, model, skill)
        yield SPLIT | {
            "source": f"Music Arena ['{month}']", "prompt": f"arena {i % 887}",
            "audio-path": f"MusicArena_data/audio_files/{month}/{i}a.mp3",
            "audio2": f"MusicArena_data/audio_files/{month}/{i}b.mp3",
            "preference": "A" if side else "B", "predicted_musicality": a, "predicted_musicality_b": b,
        }  # fmt: skip


def _cmi_pref(people, model, skill):
    sides = {True: "model_a", False: "model_b"}
    for i in range(500):
        (music, music_a, music_b), (align, align_a, align_b) = (_pair(people, model, skill) for _ in range(2))
        yield SPLIT | {
            "source": "cmi-arena-annotation", "prompt": f"cmi {i % 350}", "lyrics": "la la" if i % 2 else "",
            "ref-audio-path": "cmi-pref/ref-audio/r.mp3" if i % 4 > 1 else "",
            "audio-path": f"cmi-pref/gen-audio/{i}a.mp3", "audio2": f"cmi-pref/gen-audio/{i}b.mp3",
            "preference-musicality": sides[music], "preference-alignment": sides[align],
            "confidence_preference-musicality": str(people.integers(2, 11) / 2),
            "confidence_preference-alignment": str(people.integers(2, 11) / 2),
            "predicted_musicality": music_a, "predicted_musicality_b": music_b,
            "predicted_text-music alignment": align_a, "predicted_text-music alignment_b": align_b,
        }  # fmt: skip
