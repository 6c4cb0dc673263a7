"""Results rows in a line each."""

from typing import Any

VALID = {"inference_valid_a": True}
HOSTILE = "=1+cmd()|x\x00\x01\x1b[2J\x85\u2028\u2029\ud800\uffff</script><svg>]]>&\r\n| `x` $y_{1}$"
"""A spreadsheet's formula, what XML, HTML and UTF-8 do not allow, a terminal's command, line ends, and markup."""
VALID_PAIR = {"inference_valid_a": True, "inference_valid_b": True}


def clip(label: Any, score: Any, **more: Any) -> dict[str, Any]:
    return {
        "source": "MusicEval",
        "split": "test",
        "audio-path": "MusicEval_data/test_audio/0.wav",
        "musicality": label,
        "predicted_musicality": score,
    } | more


def clips(labels: Any, scores: Any, **more: Any) -> list[dict[str, Any]]:
    return [clip(label, score, **more) for label, score in zip(labels, scores, strict=True)]


def stated(score_a: float, score_b: float) -> str:
    """The side as the public files state it: a tie is B."""
    return "model_a" if score_a > score_b else "model_b"


def arena(label: Any, score_a: Any, score_b: Any, **more: Any) -> dict[str, Any]:
    row = {
        "source": "Music Arena ['01-2025JULAUG']",
        "split": "test",
        "audio-path": "MusicArena_data/audio_files/01-2025JULAUG/a.mp3",
        "audio2": "MusicArena_data/audio_files/01-2025JULAUG/b.mp3",
        "preference": label,
        "predicted_musicality": score_a,
        "predicted_musicality_b": score_b,
    }
    known = score_a is not None and score_b is not None
    return row | {"predicted_preference": stated(score_a, score_b) if known else None} | more


def cmi(musicality: Any, alignment: Any, scores: tuple[Any, Any, Any, Any], **more: Any) -> dict[str, Any]:
    """`scores`: musicality of A and B, alignment of A and B."""
    music_a, music_b, align_a, align_b = scores
    row = {
        "source": "cmi-arena-annotation",
        "split": "test",
        "audio-path": "cmi-pref/gen-audio/a.mp3",
        "audio2": "cmi-pref/gen-audio/b.mp3",
        "preference-musicality": musicality,
        "preference-alignment": alignment,
        "predicted_musicality": music_a,
        "predicted_musicality_b": music_b,
        "predicted_text-music alignment": align_a,
        "predicted_text-music alignment_b": align_b,
    }
    row["predicted_preference-musicality"] = None if music_a is None or music_b is None else stated(music_a, music_b)
    row["predicted_preference-alignment"] = None if align_a is None or align_b is None else stated(align_a, align_b)
    return row | more
