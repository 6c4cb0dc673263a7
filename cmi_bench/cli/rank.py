"""`cmi-bench rank`: the best songs first, of those made from one instruction."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from cmi_bench.api.ranking import By, Criterion, Place, places
from cmi_bench.cli.copy_best import copy_best
from cmi_bench.cli.output import Form, exit_code, print_records, print_table
from cmi_bench.cli.score import song_record
from cmi_bench.cli.scoring import ModelOptions, score_songs
from cmi_bench.cli.wanted import Instruction, WantedSong
from cmi_bench.errors import UserError
from cmi_bench.reporting.songs_table import SongLine

if TYPE_CHECKING:
    from cmi_bench.inference.scores import ClipScore

TITLE_LENGTH = 60


@dataclass(frozen=True)
class _Ranking:
    """The songs made from one instruction."""

    best: list[Place]
    """By index into all songs."""
    failed: list[int]
    count: int
    """Of the songs that could be ranked."""


def rank(
    songs: Sequence[WantedSong],
    options: ModelOptions,
    form: Form,
    *,
    rule: Criterion,
    top_k: int | None,
    copy_to: Path | None,
) -> int:
    """Score songs, print the best of each instruction first, copy them if asked to, and return the exit code.

    Raises:
        UserError: The model does not judge what is to be ranked by, or something is in the way of the copies.
    """
    if copy_to is not None and len({song.instruction for song in songs}) > 1:
        raise UserError("The songs were made from several instructions.", "Leave out --copy-to, or rank one at a time.")
    scored = score_songs(songs, options)
    scores = scored.scores
    rule.check(scores, f"The model {scored.model}")
    rankings = _rankings(songs, scores, rule, top_k)
    if form is Form.TABLE:
        _print_tables(rankings, songs, scores, rule)
    else:
        print_records(
            [
                {"rank": place.rank if place else None, **song_record(songs[index], scores[index])}
                for ranking in rankings.values()
                for index, place in _in_order(ranking)
            ],
            form,
        )
    if copy_to is not None:
        (only,) = rankings.values()
        count = copy_best([songs[place.index].audio for place in only.best], copy_to)
        typer.echo(f"{count} {'song is' if count == 1 else 'songs are'} in {copy_to}", err=True)
    return exit_code([score.error for score in scores])


def _rankings(
    songs: Sequence[WantedSong], scores: Sequence["ClipScore"], rule: Criterion, top_k: int | None
) -> dict[Instruction, _Ranking]:
    """Rank songs among those with the same instruction: scores of different ones do not compare."""
    groups: dict[Instruction, list[int]] = {}
    for index, song in enumerate(songs):
        groups.setdefault(song.instruction, []).append(index)
    values = [math.nan if score.error else rule.value(score) for score in scores]
    return {
        instruction: _Ranking(
            [
                Place(place.rank, members[place.index], place.value)
                for place in places([values[index] for index in members], top_k)
            ],
            [index for index in members if scores[index].error],
            sum(not math.isnan(values[index]) for index in members),
        )
        for instruction, members in groups.items()
    }


def _in_order(ranking: _Ranking) -> list[tuple[int, Place | None]]:
    """Return a ranking's songs with their places, the failed ones last and without."""
    return [*((place.index, place) for place in ranking.best), *((index, None) for index in ranking.failed)]


def _print_tables(
    rankings: Mapping[Instruction, _Ranking],
    songs: Sequence[WantedSong],
    scores: Sequence["ClipScore"],
    rule: Criterion,
) -> None:
    """Print a table for each instruction; the only one needs no title."""
    for number, (instruction, ranking) in enumerate(rankings.items(), start=1):
        title = f"{number}. {_shortened(instruction)}" if len(rankings) > 1 else ""
        lines = [
            SongLine(
                songs[index].name,
                scores[index].alignment,
                scores[index].musicality,
                scores[index].error,
                rank=place.rank if place else None,
                mean=place.value if place and rule.by is By.MEAN else None,
            )
            for index, place in _in_order(ranking)
        ]
        shown = len(ranking.best)
        best = f"the best {shown} of {ranking.count}" if shown < ranking.count else f"{shown} song{'s' * (shown != 1)}"
        print_table(lines, title=title, note=f"By {rule.in_words}: {best}.")


def _shortened(instruction: Instruction) -> str:
    said = " ".join((instruction.text or instruction.lyrics or "no text").split())
    return said if len(said) <= TITLE_LENGTH else said[: TITLE_LENGTH - 3] + "..."
