"""`cmi-bench rank`: the best songs first, of those made from one instruction, and copies of them."""

import filecmp
import math
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import typer

from cmi_bench.api.ranking import By, Criterion, Place, places
from cmi_bench.cli.inputs import Instruction, RequestedSong
from cmi_bench.cli.options import Form, ModelOptions
from cmi_bench.cli.score import exit_code, print_records, print_table, score_songs, song_record
from cmi_bench.data.manifest import AUDIO_SUFFIXES
from cmi_bench.errors import UserError
from cmi_bench.reporting.terminal import SongLine
from cmi_bench.types import Score
from cmi_bench.utils.console import print_view, some_of
from cmi_bench.utils.files import reason_of, replacing

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
    if copy_to is not None and copy_to.exists() and not copy_to.is_dir():
        raise UserError(f"--copy-to {copy_to} is a file, and a folder is needed.", "Choose another folder.")
    scored = score_songs(songs, options)
    scores = scored.scores
    rule.check(scores, f"The model {scored.model}")
    rankings = _rankings(songs, scores, rule, top_k)
    if form is Form.TABLE:
        _print_tables(rankings, songs, scores, rule)
        if scored.alignment_remark:
            print_view(scored.alignment_remark)
    else:
        print_records(
            [
                {"rank": place.rank if place else None, **song_record(songs[index], scored, index)}
                for ranking in rankings.values()
                for index, place in _in_order(ranking)
            ],
            form,
        )
    if copy_to is not None:
        (only,) = rankings.values()
        given = [song.clip.audio for song in songs]
        typer.echo(copy_best([given[place.index] for place in only.best], copy_to, given=given).message, err=True)
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
                scores[index],
                rank=place.rank if place else None,
                mean=place.value if place and rule.by is By.MEAN else None,
                mean_spread=rule.spread(scores[index]),
            )
            for index, place in _in_order(ranking)
        ]
        shown = len(ranking.best)
        best = f"the best {shown} of {ranking.count}" if shown < ranking.count else f"{shown} song{'s' * (shown != 1)}"
        print_table(lines, title=title, note=f"By {rule.description}: {best}.")


def _shortened(instruction: Instruction) -> str:
    title = " ".join((instruction.text or instruction.lyrics or "no text").split())
    return title if len(title) <= TITLE_LENGTH else title[: TITLE_LENGTH - 3] + "..."


@dataclass(frozen=True)
class Copies:
    """What a folder of copies holds now."""

    folder: Path
    count: int
    """Of the copies."""
    removed: int
    """Copies that an earlier ranking had left, and that are no longer among the best."""
    others: list[str]
    """Files that are named like copies, and are none of the songs that were ranked."""

    @property
    def message(self) -> str:
        """What to say of it."""
        text = f"{self.count} {'song is' if self.count == 1 else 'songs are'} in {self.folder}"
        if self.removed:
            text += f"; {self.removed} {'copy' if self.removed == 1 else 'copies'} of an earlier ranking removed"
        return f"{text}. Not of these songs, and left: {some_of(self.others)}" if self.others else text


class _Copy(NamedTuple):
    source: Path
    target: Path


_COPY_NAME = re.compile(r"\d{2,}_(?P<name>.+)")


def copy_best(files: Sequence[Path], folder: Path, *, given: Sequence[Path]) -> Copies:
    """Make a folder hold copies of files as `01_name`, `02_name`, ...

    What an earlier ranking of the same songs copied there is removed, or gets its new number: a file that is named
    like a copy of a song that was given, and has its bytes. Nothing else is removed, and nothing overwritten.

    Args:
        files: The best first.
        folder: Where to; made if need be.
        given: All songs that were ranked.

    Raises:
        UserError: Something else has one of the names, in which case nothing is changed; or the folder cannot be
            written to.
    """
    digits = max(MIN_DIGITS, len(str(len(files))))
    copies = [_Copy(file, folder / f"{position:0{digits}}_{file.name}") for position, file in enumerate(files, start=1)]
    try:
        earlier, others = _numbered_files(folder, given)
        current = {copy.target for copy in copies if _is_same(copy)}
        stale = [copy for copy in earlier if copy.target not in current]
        removable = {copy.target for copy in stale}
        taken = [copy.target for copy in copies if copy.target.exists() and copy.target not in current | removable]
        if taken:
            what = f"{taken[0]} exists and is another file; nothing was copied."
            raise UserError(what, "Choose a new folder, or move that file away.")
        folder.mkdir(parents=True, exist_ok=True)
        for copy in stale:
            copy.target.unlink()
        for copy in copies:
            _write(copy)
    except OSError as error:
        raise UserError(f"Cannot copy to {folder}: {reason_of(error)}.", "Choose another folder.") from error
    return Copies(folder, len(copies), sum(copy.source not in files for copy in stale), others)


def _numbered_files(folder: Path, given: Sequence[Path]) -> tuple[list[_Copy], list[str]]:
    """Return the copies of songs that are in a folder, and the names of other audio files that look like copies."""
    copies, others = [], []
    songs = [song for song in given if song.is_file()]
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        found = _COPY_NAME.fullmatch(path.name)
        if found is None or not path.is_file() or any(path.samefile(song) for song in songs):
            continue  # also a link to a song, which is none of our making
        named = (song for song in songs if song.name == found["name"] and filecmp.cmp(song, path, shallow=False))
        if song := next(named, None):
            copies.append(_Copy(song, path))
        elif path.suffix.lower() in AUDIO_SUFFIXES:
            others.append(path.name)
    return copies, others


def _is_same(copy: _Copy) -> bool:
    return copy.target.is_file() and filecmp.cmp(copy.source, copy.target, shallow=False)


def _write(copy: _Copy) -> None:
    if copy.target.exists():  # the same content, as was seen before
        return
    with copy.source.open("rb") as source, replacing(copy.target) as target:  # half a song is none
        shutil.copyfileobj(source, target)
