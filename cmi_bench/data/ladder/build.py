"""Write the ladder's clips as audio files, for models that take paths as well as for ears."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import soundfile

from cmi_bench.data.ladder.pieces import LADDER_ID, SAMPLING_RATE, Piece, least_fitting
from cmi_bench.data.ladder.steps import CLEAN, Step
from cmi_bench.data.mini.seeds import stream

_SPOILING = 3
"""Second id of the ladder's random streams."""


class LadderClip(NamedTuple):
    """One clip to judge."""

    step: Step
    piece: int
    """Number of the piece."""
    audio: Path
    prompt: str
    lyrics: str


def plan_ladder(pieces: Sequence[Piece], steps: Sequence[Step], folder: Path) -> list[LadderClip]:
    """Return each piece at each step; nothing is written.

    Args:
        pieces: Two or more, so that prompts can be swapped.
        steps: The clean one first.
        folder: Where the audio is or will be.
    """
    return [_clip(piece, step, pieces, folder) for step in steps for piece in pieces]


def write_ladder(pieces: Sequence[Piece], steps: Sequence[Step], folder: Path) -> None:
    """Play and spoil the pieces into 16 bit WAV files, the same bytes each time.

    Args:
        pieces: The pieces.
        steps: What is done to each.
        folder: One folder a kind goes below it.
    """
    for piece in pieces:
        wave = piece.play()
        for index, step in enumerate(steps):
            if step.swaps_prompt:
                continue
            path = _path(piece, step, folder)
            path.parent.mkdir(parents=True, exist_ok=True)
            spoilt = (
                step.spoil(wave, SAMPLING_RATE, stream(LADDER_ID, _SPOILING, index, piece.number))
                if step.spoil
                else wave
            )
            soundfile.write(path, spoilt, SAMPLING_RATE, subtype="PCM_16")


def _clip(piece: Piece, step: Step, pieces: Sequence[Piece], folder: Path) -> LadderClip:
    if not step.swaps_prompt:
        return LadderClip(step, piece.number, _path(piece, step, folder), piece.prompt, piece.lyrics)
    asked = least_fitting(piece, [other for other in pieces if other != piece])
    return LadderClip(step, piece.number, _path(piece, CLEAN, folder), asked.prompt, asked.lyrics)


def _path(piece: Piece, step: Step, folder: Path) -> Path:
    step_name = f"{step.kind} {step.severity}" if step.severity else str(step.kind)
    return folder / step_name.replace(" ", "-") / f"piece-{piece.number:02d}.wav"
