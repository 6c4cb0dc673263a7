"""What a piece of music is asked to be: genre, key, tempo, instruments; and how far two such wishes are apart."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from cmi_bench.data.mini.timbres import BRIGHT_LEADS, DARK_LEADS, VOICE


class Mode(StrEnum):
    """Major or minor."""

    MAJOR = "major"
    MINOR = "minor"


class Comping(StrEnum):
    """How the chords are played."""

    HELD = "held"
    STRUMMED = "strummed"
    BROKEN = "broken"
    OFF_BEAT = "off-beat"


@dataclass(frozen=True)
class Genre:
    """A way of arranging a piece."""

    name: str
    comping: Comping
    chord_beats: int
    """Beats a chord lasts."""
    progressions: tuple[tuple[int, ...], ...]
    """Chord roots as scale degrees counted from 0, in either mode."""
    groove: str
    """Name of the drum pattern."""
    density: float
    """Share of short notes in the melody, 0 to 1."""
    harmony: str
    """Timbre of the chords."""


GENRES = {
    genre.name: genre
    for genre in (
        Genre("rock", Comping.STRUMMED, 4, ((0, 4, 5, 3), (0, 3, 4, 3)), "backbeat", 0.6, "guitar"),
        Genre("jazz", Comping.OFF_BEAT, 2, ((1, 4, 0, 5), (0, 5, 1, 4)), "swing", 0.7, "piano"),
        Genre("ambient", Comping.HELD, 4, ((0, 5, 3, 4), (0, 2, 3, 0)), "sparse", 0.1, "strings"),
        Genre("techno", Comping.OFF_BEAT, 4, ((0, 0, 5, 6), (0, 5, 2, 6)), "four on the floor", 0.8, "synth"),
        Genre("folk", Comping.BROKEN, 4, ((0, 3, 0, 4), (0, 4, 5, 3)), "sparse", 0.4, "guitar"),
        Genre("classical", Comping.BROKEN, 2, ((0, 3, 4, 0), (0, 5, 3, 4)), "sparse", 0.5, "strings"),
    )
}

SLOW_TEMPI = (66, 72, 80, 84)
FAST_TEMPI = (126, 132, 140, 150)
"""Beats per minute. Nothing lies between, so that "slow" and "fast" are never a matter of taste."""

TONICS = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")


@dataclass(frozen=True)
class Style:
    """What is asked of a piece, or what a piece is."""

    genre: str
    tonic: int
    """Pitch class, 0 is C."""
    mode: Mode
    tempo: int
    """Beats per minute."""
    lead: str
    """Timbre of the melody; `VOICE` where lyrics are sung."""
    drums: bool

    @property
    def is_fast(self) -> bool:
        """Whether the tempo is one of the fast ones."""
        return self.tempo >= min(FAST_TEMPI)

    @property
    def is_bright(self) -> bool:
        """Whether the melody's timbre is rich in high partials."""
        return self.lead in BRIGHT_LEADS


def draw_style(rng: np.random.Generator, *, vocal: bool = False) -> Style:
    """Invent a style."""
    return Style(
        genre=str(rng.choice(list(GENRES))),
        tonic=int(rng.integers(12)),
        mode=Mode(rng.choice(list(Mode))),
        tempo=int(rng.choice(FAST_TEMPI if rng.random() < 0.5 else SLOW_TEMPI)),
        lead=VOICE if vocal else str(rng.choice((*BRIGHT_LEADS, *DARK_LEADS))),
        drums=bool(rng.random() < 0.5),
    )


def _other_genre(style: Style, rng: np.random.Generator) -> Style:
    return replace(style, genre=str(rng.choice([name for name in GENRES if name != style.genre])))


def _other_tempo(style: Style, rng: np.random.Generator) -> Style:
    return replace(style, tempo=int(rng.choice(SLOW_TEMPI if style.is_fast else FAST_TEMPI)))


def _other_key(style: Style, rng: np.random.Generator) -> Style:
    """Move to the other mode of a distant tonic, so that not even the relative key is shared."""
    mode = Mode.MINOR if style.mode is Mode.MAJOR else Mode.MAJOR
    return replace(style, mode=mode, tonic=(style.tonic + int(rng.choice((1, 2, 6)))) % 12)


def _other_lead(style: Style, rng: np.random.Generator) -> Style:
    return replace(style, lead=str(rng.choice(DARK_LEADS if style.is_bright else BRIGHT_LEADS)))


def _other_drums(style: Style, _rng: np.random.Generator) -> Style:
    return replace(style, drums=not style.drums)


_DRIFTS: tuple[Callable[[Style, np.random.Generator], Style], ...] = (
    _other_tempo,
    _other_drums,
    _other_lead,
    _other_key,
    _other_genre,
)


def drift(style: Style, steps: int, rng: np.random.Generator) -> Style:
    """Return a style that misses the wish in `steps` of its five attributes (0 keeps it)."""
    for index in rng.permutation(len(_DRIFTS))[:steps]:
        style = _DRIFTS[index](style, rng)
    return style


MAX_DRIFT = len(_DRIFTS)


def agreement(wish: Style, piece: Style) -> float:
    """Return the share of the wish that the piece fulfils, 0 to 1.

    Tempo, drums and lead weigh most because a listener hears them first.
    """
    return (
        0.25 * (wish.is_fast == piece.is_fast)
        + 0.25 * (wish.drums == piece.drums)
        + 0.2 * (wish.lead == piece.lead)
        + 0.2 * (wish.mode == piece.mode)
        + 0.1 * (wish.genre == piece.genre)
    )
