"""Clean pieces whose prompts they fulfil."""

from typing import NamedTuple

from cmi_bench.data.mini.clips import ClipPlan, make_clip
from cmi_bench.data.mini.prompts import write_lyrics, write_prompt
from cmi_bench.data.mini.seeds import stream
from cmi_bench.data.mini.styles import Style, agreement, draw_style
from cmi_bench.data.mini.timbres import Wave

LADDER_ID = 5
"""First id of the ladder's random streams; the mini benchmark's datasets have 1 to 4."""
MAX_PIECES = 8
SAMPLING_RATE = 24000
SECONDS = 5.0
VOCAL_EVERY = 4
_WISH, _WORDS, _AUDIO = 0, 1, 2


class Piece(NamedTuple):
    """An undamaged piece of music that is what its prompt asks for."""

    number: int
    """From 1."""
    style: Style
    prompt: str
    lyrics: str
    """Empty for an instrumental piece."""

    def play(self) -> Wave:
        """Return the waveform: float32 [samples, 1] at `SAMPLING_RATE`."""
        plan = ClipPlan("", self.style, (), SECONDS, SAMPLING_RATE, 1, (LADDER_ID, _AUDIO, self.number))
        return make_clip(plan)


def clean_pieces(count: int = MAX_PIECES) -> list[Piece]:
    """Return the first pieces, up to `MAX_PIECES`; the same ones each time."""
    return [_piece(number) for number in range(1, min(count, MAX_PIECES) + 1)]


def least_fitting(piece: Piece, others: list[Piece]) -> Piece:
    """Return the piece whose prompt a piece fulfils least; the first of several."""
    return min(others, key=lambda other: agreement(other.style, piece.style))


def _piece(number: int) -> Piece:
    is_vocal = number % VOCAL_EVERY == 0
    style = draw_style(stream(LADDER_ID, _WISH, number), vocal=is_vocal)
    words = stream(LADDER_ID, _WORDS, number)
    return Piece(number, style, write_prompt(style, words), write_lyrics(words) if is_vocal else "")
