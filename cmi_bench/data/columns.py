"""Which column of a table holds what: by the names that people give to columns, or as they say explicitly."""

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import NamedTuple

from cmi_bench.config import ColumnsConfig
from cmi_bench.errors import UserError, did_you_mean
from cmi_bench.types import Aspect


class Role(StrEnum):
    """What a column can hold; the values are the keys of `ColumnsConfig`."""

    SONG = "song"
    A = "a"
    B = "b"
    PROMPT = "prompt"
    LYRICS = "lyrics"
    REFERENCE = "reference"
    RATING = "rating"
    MUSICALITY = "musicality"
    ALIGNMENT = "alignment"
    WINNER = "winner"
    WINNER_MUSICALITY = "winner_musicality"
    WINNER_ALIGNMENT = "winner_alignment"
    ASPECT = "aspect"
    RATER = "rater"
    SYSTEM = "system"
    SYSTEM_A = "system_a"
    SYSTEM_B = "system_b"
    GROUP = "group"
    SPLIT = "split"


_SIDES = ("song", "audio", "file", "path", "wav", "clip", "track", "sample")
_OF_A, _OF_B = ("a", "1", "left"), ("b", "2", "right")


def _sided(names: Iterable[str], sides: Iterable[str]) -> tuple[str, ...]:
    """Return the names of one side, such as song_a, songa and a_song: a column called "1" alone says little."""
    return tuple(
        form for name in names for side in sides for form in (f"{name}_{side}", f"{name}{side}", f"{side}_{name}")
    )


SYNONYMS: Mapping[Role, tuple[str, ...]] = {
    Role.SONG: (
        *("audio", "file", "filename", "file_name", "filepath", "file_path", "path", "audio_path", "audio_file"),
        *("wav", "mp3", "clip", "track", "sample", "recording", "stimulus", "song_path", "wav_path", "clip_path"),
    ),
    Role.A: _sided(_SIDES, _OF_A),
    Role.B: _sided(_SIDES, _OF_B),
    Role.PROMPT: ("text", "caption", "description", "instruction", "text_prompt", "prompt_text", "input"),
    Role.LYRICS: ("lyric", "lyrics_text", "words"),
    Role.REFERENCE: ("ref", "ref_audio", "reference_audio", "ref_audio_path", "reference_path", "audio_prompt"),
    Role.RATING: ("score", "mos", "stars", "opinion", "grade", "mean_opinion_score", "label", "value"),
    Role.MUSICALITY: ("musicality_mos", "mos_musicality", "musicality_score", "musicality_rating", "ovl", "quality"),
    Role.ALIGNMENT: (
        *("text_music_alignment", "alignment_mos", "mos_alignment", "alignment_score", "alignment_rating", "rel"),
        *("adherence", "text_alignment", "prompt_adherence", "relevance", "text_relevance"),
    ),
    Role.WINNER: ("preference", "preferred", "choice", "chosen", "better", "best", "vote", "label", "answer"),
    Role.WINNER_MUSICALITY: ("preference_musicality", "musicality_winner", "musicality", "musicality_preference"),
    Role.WINNER_ALIGNMENT: ("preference_alignment", "alignment_winner", "alignment", "alignment_preference"),
    Role.ASPECT: ("dimension", "criterion", "question", "attribute"),
    Role.RATER: (
        *("annotator", "listener", "judge", "participant", "worker", "user", "subject", "evaluator", "expert"),
        *("rater_id", "annotator_id", "listener_id", "judge_id", "participant_id", "worker_id", "user_id"),
    ),
    Role.SYSTEM: ("model", "generator", "system_id", "model_name", "system_name", "method"),
    Role.SYSTEM_A: _sided(("system", "model", "generator", "method"), _OF_A),
    Role.SYSTEM_B: _sided(("system", "model", "generator", "method"), _OF_B),
    Role.GROUP: (),
    Role.SPLIT: (),
}
"""Names of columns beside the role's own, as `normalised` writes them."""

_OF_ALL = (Role.PROMPT, Role.LYRICS, Role.REFERENCE, Role.ASPECT, Role.RATER, Role.GROUP, Role.SPLIT)
OF_RATINGS = (Role.SONG, *_OF_ALL, Role.SYSTEM, Role.RATING, Role.MUSICALITY, Role.ALIGNMENT)
OF_PAIRS = (
    *(Role.A, Role.B, *_OF_ALL, Role.SYSTEM_A, Role.SYSTEM_B),
    *(Role.WINNER, Role.WINNER_MUSICALITY, Role.WINNER_ALIGNMENT),
)

ASPECTS: Mapping[str, Aspect] = {
    **dict.fromkeys(("musicality", "quality", "music_quality", "overall", "overall_quality", "ovl"), Aspect.MUSICALITY),
    **dict.fromkeys(SYNONYMS[Role.ALIGNMENT], Aspect.ALIGNMENT),
    **dict.fromkeys(("alignment", "text", "prompt"), Aspect.ALIGNMENT),
}
"""How people spell the two things that are judged, as `normalised` writes it."""


def normalised(name: str) -> str:
    """Return a name without case and punctuation.

    >>> normalised(" Audio-Path ")
    'audio_path'
    """
    return re.sub(r"[\W_]+", "_", name.strip().lower()).strip("_")


class Columns(NamedTuple):
    """What the columns of a table hold."""

    is_paired: bool
    """Whether a line compares two songs."""
    of: Mapping[Role, str]
    """The column of each role that has one."""
    unused: tuple[str, ...]
    """The others, in the file's order: carried into the results."""


def match_columns(columns: Iterable[str], given: ColumnsConfig, *, file: str) -> Columns:
    """Find out what the columns of a table hold.

    A column that has a role's own name has that role. Otherwise the one column with a name that is usual for it.

    Args:
        columns: All columns.
        given: Columns by role, as the user says (`data.columns`).
        file: For messages.

    Raises:
        UserError: There is no column for the songs or the labels, several could be the one, or a column that was
            given does not exist.
    """
    names = list(columns)
    explicit = _explicit(names, given, file=file)
    is_paired = _is_paired(names, explicit)
    roles = OF_PAIRS if is_paired else OF_RATINGS
    for role in explicit:
        if role not in roles:
            kind = "pairs" if is_paired else "single songs with ratings"
            raise UserError(f"{file} holds {kind}, which have no {role} (data.columns.{role}).", "Leave it out.")
    of = dict(explicit)
    for role in roles:
        found = of.get(role) or _find(role, [name for name in names if name not in of.values()], file=file)
        if found is not None:
            of[role] = found
    _drop_rivals(of, explicit, file=file)
    _require(of, names, is_paired=is_paired, file=file)
    return Columns(is_paired, of, tuple(name for name in names if name not in of.values()))


def _explicit(names: list[str], given: ColumnsConfig, *, file: str) -> dict[Role, str]:
    return {
        role: column_named(column, names, file=file, key=f"data.columns.{role}")
        for role in Role
        if (column := getattr(given, role)) is not None
    }


def column_named(wanted: str, names: Iterable[str], *, file: str, key: str) -> str:
    """Return the column that a user named, whatever its case.

    Raises:
        UserError: There is none.
    """
    known = list(names)
    if wanted in known:
        return wanted
    alike = [name for name in known if normalised(name) == normalised(str(wanted))]
    if len(alike) != 1:
        raise UserError(f"{file} has no column {wanted!r} ({key}).", did_you_mean(str(wanted), known))
    return alike[0]


def _is_paired(names: list[str], explicit: Mapping[Role, str]) -> bool:
    """Whether there are columns for two songs; of both kinds, where one was given, that one."""
    if Role.SONG in explicit:
        return False
    there = {normalised(name) for name in names}
    return all(role in explicit or there & {role.value, *SYNONYMS[role]} for role in (Role.A, Role.B))


def _find(role: Role, names: list[str], *, file: str) -> str | None:
    own = [name for name in names if normalised(name) == role.value]
    found = own or [name for name in names if normalised(name) in SYNONYMS[role]]
    if len(found) > 1:
        raise UserError(
            f"{file}: which column is the {role}, {' or '.join(map(repr, found))}?",
            f"Say so: data.columns.{role}={found[0]}",
        )
    return found[0] if found else None


def _drop_rivals(of: dict[Role, str], explicit: Mapping[Role, str], *, file: str) -> None:
    """Decide between one column of labels and one for each aspect: a line has its label in one form only."""
    for one, each in (
        (Role.RATING, (Role.MUSICALITY, Role.ALIGNMENT)),
        (Role.WINNER, (Role.WINNER_MUSICALITY, Role.WINNER_ALIGNMENT)),
    ):
        of_aspects = [role for role in each if role in of]
        if one not in of or not of_aspects:
            continue
        said = [role for role in (one, *of_aspects) if role in explicit]
        # A column that says what a line is about goes with one column of labels.
        if not said and Role.ASPECT not in of:
            named = " or ".join(repr(of[role]) for role in (one, *of_aspects))
            raise UserError(
                f"{file}: which column is the label, {named}?", f"Say so: data.columns.{one}={of[one]}, or for one"
                f" aspect data.columns.{of_aspects[0]}={of[of_aspects[0]]}.",
            )  # fmt: skip
        for role in of_aspects if one in said or not said else (one,):
            del of[role]
    if Role.RATING not in of and Role.WINNER not in of:
        of.pop(Role.ASPECT, None)


def _require(of: Mapping[Role, str], names: list[str], *, is_paired: bool, file: str) -> None:
    known = ", ".join(names)
    if not is_paired and Role.SONG not in of:
        raise UserError(
            f"{file} has no column for the songs, nor two for pairs. Its columns: {known}.",
            "Call it song (or A and B), or name it: data.columns.song=COLUMN.",
        )
    labels = (Role.WINNER, Role.WINNER_MUSICALITY, Role.WINNER_ALIGNMENT) if is_paired else (
        Role.RATING, Role.MUSICALITY, Role.ALIGNMENT)  # fmt: skip
    if not any(role in of for role in labels):
        role = labels[0]
        raise UserError(
            f"{file} has no column for the {'winners' if is_paired else 'ratings'}. Its columns: {known}.",
            f"Call it {role}, or name it: data.columns.{role}=COLUMN."
            " Songs without ratings are scored by cmi-bench score --requests.",
        )
