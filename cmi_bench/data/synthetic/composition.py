"""Write a piece as notes (chords, bass, melody, drums), from what is asked of it: genre, key, tempo, instruments."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from cmi_bench.data.synthetic.instruments import BRIGHT_LEADS, DARK_LEADS, GROOVES, VOICE, Note


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


BEATS_PER_BAR = 4
SCALES = {Mode.MAJOR: (0, 2, 4, 5, 7, 9, 11), Mode.MINOR: (0, 2, 3, 5, 7, 8, 10)}
CHORD_FLOOR = 55
"""Lowest MIDI pitch of the chords; each chord is turned so that it lies in the octave above."""
BASS_FLOOR = 36
MELODY_RANGE = (67, 86)

_CALM_RHYTHMS = ((2.0,), (1.0, 1.0), (1.5, 0.5))
_BUSY_RHYTHMS = ((0.5, 0.5, 0.5, 0.5), (1.0, 0.5, 0.5), (0.5, 0.5, 1.0))
"""Lengths in beats that fill half a bar."""


def scale_pitch(style: Style, degree: int) -> int:
    """Return the MIDI pitch of a scale degree; degree 0 is the tonic in the octave from C at 60."""
    octave, step = divmod(degree, 7)
    return 60 + style.tonic + 12 * octave + SCALES[style.mode][step]


def scale_shift(style: Style, pitch: float, steps: int) -> float:
    """Move a pitch by steps of the style's scale: it stays in the key, or as far beside it as it was."""
    scale = SCALES[style.mode]
    octave, pitch_class = divmod(pitch - style.tonic, 12)
    semitone = round(pitch_class) % 12
    nearest = min(scale, key=lambda tone: abs(tone - semitone))
    degree = scale.index(nearest) + steps
    return style.tonic + 12 * (octave + degree // 7) + scale[degree % 7] + semitone - nearest


def compose(style: Style, seconds: float, rng: np.random.Generator) -> list[Note]:
    """Write a piece of the given length.

    Args:
        style: Key, tempo, genre and instruments.
        seconds: Length; the last notes may ring on past it.
        rng: Decides progression, motifs and contour.
    """
    genre = GENRES[style.genre]
    beat = 60.0 / style.tempo
    beats = int(np.ceil(seconds / beat))
    progression = genre.progressions[rng.integers(len(genre.progressions))]
    roots = [progression[i % len(progression)] for i in range(-(-beats // genre.chord_beats))]
    notes = [note for i, root in enumerate(roots) for note in _accompany(style, genre, root, i * genre.chord_beats)]
    notes += _melody(style, genre, roots, beats, rng)
    if style.drums:
        notes += _drums(genre, beats)
    # Until here time was counted in beats.
    return [
        note._replace(start=note.start * beat, seconds=note.seconds * beat)
        for note in sorted(notes, key=lambda note: (note.start, note.part))
        if note.start < beats
    ]


def _accompany(style: Style, genre: Genre, root: int, start: int) -> list[Note]:
    """Play one chord and its bass."""
    length = genre.chord_beats
    chord = sorted(CHORD_FLOOR + (scale_pitch(style, root + third) - CHORD_FLOOR) % 12 for third in (0, 2, 4))
    low = BASS_FLOOR + (scale_pitch(style, root) - BASS_FLOOR) % 12
    fifth = BASS_FLOOR + (scale_pitch(style, root + 4) - BASS_FLOOR) % 12
    if genre.comping is Comping.HELD:
        bass = [Note("bass", "bass", start, length, low, 0.8)]
        times = [(0.0, float(length))]
    else:
        bass = [Note("bass", "bass", start + i, 0.9, low if i % 2 == 0 else fifth, 0.9) for i in range(length)]
        times = [(i + 0.5 * (genre.comping is Comping.OFF_BEAT), 0.45) for i in range(length)]
    if genre.comping is Comping.STRUMMED:
        times = [(0.5 * i, 0.5) for i in range(2 * length)]
    if genre.comping is Comping.BROKEN:
        order = (0, 1, 2, 1)
        broken = [
            Note("chords", genre.harmony, start + 0.5 * i, 0.9, chord[order[i % 4]], 0.8) for i in range(2 * length)
        ]
        return bass + broken
    return bass + [
        Note("chords", genre.harmony, start + at, held, pitch, 0.7 if at % 1 else 0.8)
        for at, held in times
        for pitch in chord
    ]


class _Motif(NamedTuple):
    """Half a bar of melody, said again on every chord it fits."""

    rhythm: tuple[float, ...]
    steps: tuple[int, ...]
    """Scale steps to the next note."""


def _draw_motif(genre: Genre, rng: np.random.Generator) -> _Motif:
    rhythms = _BUSY_RHYTHMS if rng.random() < genre.density else _CALM_RHYTHMS
    rhythm = rhythms[rng.integers(len(rhythms))]
    # Mostly steps, few leaps: what makes a line singable.
    steps = rng.choice((-2, -1, -1, 1, 1, 2), size=len(rhythm))
    return _Motif(rhythm, tuple(int(step) for step in steps))


def _melody(style: Style, genre: Genre, roots: list[int], beats: int, rng: np.random.Generator) -> list[Note]:
    """Write a melody of two motifs in the order A A B A, anchored on a chord tone at each half bar."""
    motifs = [_draw_motif(genre, rng) for _ in range(2)]
    notes: list[Note] = []
    degree = 7 + int(rng.choice((0, 2, 4)))
    for half_bar in range(-(-beats // 2)):
        at = 2.0 * half_bar
        degree = _nearest_chord_degree(degree, roots[int(at) // genre.chord_beats])
        motif = motifs[half_bar % 4 == 2]
        for length, step in zip(motif.rhythm, motif.steps, strict=True):
            pitch = _into_range(scale_pitch(style, degree))
            accent = 1.0 if at % 1 == 0 else 0.8
            notes.append(Note("melody", style.lead, at, 0.92 * length, pitch, accent))
            degree += step
            at += length
    return notes


def _nearest_chord_degree(degree: int, root: int) -> int:
    tones = [root + third + 7 * octave for third in (0, 2, 4) for octave in (-1, 0, 1, 2)]
    return min(tones, key=lambda tone: (abs(tone - degree), tone))


def _into_range(pitch: int) -> int:
    low, high = MELODY_RANGE
    while pitch < low:
        pitch += 12
    while pitch > high:
        pitch -= 12
    return pitch


def _drums(genre: Genre, beats: int) -> list[Note]:
    return [
        Note("drums", hit.drum, bar + hit.beat, 0.1, 0.0, hit.velocity)
        for bar in range(0, beats, BEATS_PER_BAR)
        for hit in GROOVES[genre.groove]
    ]
