"""`cmi-bench rank`: the best songs first, of those made from one instruction, and copies of them."""

import filecmp
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import typer

from cmi_bench.api.ranking import By, Criterion, Place, places
from cmi_bench.cli.inputs import Instruction, RequestedSong
from cmi_bench.cli.score import Form, ModelOptions, exit_code, print_records, print_table, score_songs, song_record
from cmi_bench.errors import UserError
from cmi_bench.reporting.terminal import SongLine
from cmi_bench.types import Score

TITLE_LENGTH = 60
MIN_DIGITS = 2
"""Of the numbers in front of copies' names."""


@dataclass(frozen=True)
class _Ranking:
    """The songs made from one instruction."""

    best: list[Place]
    """By index into all songs."""
    failed: list[int]
    count: int
    """Of the songs that could be ranked."""


def rank(
    songs: Sequence[RequestedSong],
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
        count = copy_best([songs[place.index].clip.audio for place in only.best], copy_to)
        typer.echo(f"{count} {'song is' if count == 1 else 'songs are'} in {copy_to}", err=True)
    return exit_code([score.error for score in scores])


def _rankings(
    songs: Sequence[RequestedSong], scores: Sequence[Score], rule: Criterion, top_k: int | None
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
    songs: Sequence[RequestedSong],
    scores: Sequence[Score],
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
        print_table(lines, title=title, note=f"By {rule.description}: {best}.")


def _shortened(instruction: Instruction) -> str:
    title = " ".join((instruction.text or instruction.lyrics or "no text").split())
    return title if len(title) <= TITLE_LENGTH else title[: TITLE_LENGTH - 3] + "..."


class _Copy(NamedTuple):
    source: Path
    target: Path


def copy_best(files: Sequence[Path], folder: Path) -> int:
    """Copy files as `01_name`, `02_name`, ...; one that is there already with the same content is left.

    Args:
        files: The best first.
        folder: Where to; made if need be.

    Returns:
        How many are there now.

    Raises:
        UserError: Something else has one of the names, in which case nothing is copied; or the folder cannot be
            written to.
    """
    digits = max(MIN_DIGITS, len(str(len(files))))
    copies = [_Copy(file, folder / f"{position:0{digits}}_{file.name}") for position, file in enumerate(files, start=1)]
    taken = [copy.target for copy in copies if copy.target.exists() and not _is_same(copy)]
    if taken:
        raise UserError(f"{taken[0]} exists and is another file; nothing was copied.", "Choose a new folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for copy in copies:
            _write(copy)
    except OSError as error:
        raise UserError(f"Cannot copy to {folder}: {error.strerror}.", "Choose another folder.") from error
    return len(copies)


def _is_same(copy: _Copy) -> bool:
    return copy.target.is_file() and filecmp.cmp(copy.source, copy.target, shallow=False)


def _write(copy: _Copy) -> None:
    try:
        with copy.source.open("rb") as source, copy.target.open("xb") as target:
            shutil.copyfileobj(source, target)
    except FileExistsError:  # the same content, as was seen before
        return
    except OSError:  # half a song is none
        copy.target.unlink(missing_ok=True)
        raise
