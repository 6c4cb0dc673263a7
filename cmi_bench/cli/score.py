"""Copy the best songs of a ranking into a folder, named in their order; nothing is overwritten.

`cmi-bench rank`: the best songs first, of those made from one instruction.

`cmi-bench score`: the scores of songs, in the order given.

Score what a command asks for, with the benchmark's stages, cache and stores, but without a run's folder.

What a command prints: a table for people, JSON lines or CSV for programs.
"""

import filecmp
import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from cmi_bench.api.ranking import By, Criterion, Place, places
from cmi_bench.cli.inputs import Instruction, RequestedSong
from cmi_bench.errors import UserError
from cmi_bench.reporting.metrics import csv_text
from cmi_bench.reporting.terminal import SongLine, songs_view, table_width
from cmi_bench.types import Score
from cmi_bench.utils.console import print_view

if TYPE_CHECKING:
    from cmi_bench.config import Config


MIN_DIGITS = 2


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


@dataclass(frozen=True)
class ModelOptions:
    """Which model, where, and how; None is the benchmark's own default."""

    model: str | None = None
    checkpoint: str | None = None
    device: str = "auto"
    max_dur: float | None = None
    precision: str | None = None
    cache_dir: Path | None = None
    no_cache: bool = False
    settings: Sequence[str] = ()
    """In Hydra's words, as on `run.py`'s command line."""

    def __post_init__(self) -> None:
        if self.no_cache and self.cache_dir is not None:
            raise UserError("Both --no-cache and --cache-dir are given.", "Give one of them.")


class Scored(NamedTuple):
    """What a command has to show."""

    model: str
    """Its name."""
    scores: list[Score]
    """One for each song, in their order."""


def score_songs(songs: Sequence[RequestedSong], options: ModelOptions) -> Scored:
    """Score songs; what cannot be scored says so by itself.

    Scores and embeddings are looked up and kept where the benchmark keeps them, so that the same command, stopped
    and started again, goes on where it was.

    Raises:
        UserError: The model, the device or a setting is not right, or nothing can be written.
    """
    config = _config(options)
    # Torch takes two seconds to load: mistakes are told before.
    from cmi_bench.api.load import build_listener
    from cmi_bench.data.audio_index import FileIndex
    from cmi_bench.scoring.batching import BatchLimits
    from cmi_bench.scoring.local import LocalRunner
    from cmi_bench.scoring.score import score_clips

    clips = [song.clip for song in songs]
    limits = BatchLimits(config.batch_size, config.batch_seconds)
    runner = LocalRunner(limits, workers=config.workers, show_progress=True)
    model = build_listener(config, options.device)
    with TemporaryDirectory(prefix="cmi-bench-") as folder:
        found = score_clips(clips, model, runner, config=config, index=FileIndex(), folder=Path(folder)).scores
    _prune(config)
    return Scored(str(config.model["name"]), [found[clip.clip_id] for clip in clips])


def _config(options: ModelOptions) -> "Config":
    from cmi_bench.api.load import compose_config

    return compose_config(
        options.model,
        {} if options.checkpoint is None else {"checkpoint": options.checkpoint},
        values={
            "max_dur": options.max_dur,
            "precision": options.precision,
            "on_error": "record",
            "cache.dir": str(options.cache_dir.absolute()) if options.cache_dir else None,
        },
        overrides=[*(["cache=off"] if options.no_cache else []), *options.settings],
    )


def _prune(config: "Config") -> None:
    """Keep the embeddings within their bound, as the benchmark does after a run."""
    from cmi_bench.scoring.embedding_cache import EmbeddingCache

    if config.cache.dir is not None:
        EmbeddingCache(Path(config.cache.dir) / "embeddings").prune(config.cache.max_gb)


SOME_FAILED = 3
"""Exit code where songs could not be scored and others were."""
NOTHING_SCORED = 1


class Form(StrEnum):
    """How results are printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


def print_table(lines: Sequence[SongLine], *, title: str = "", note: str = "") -> None:
    """Print a table; in a file or pipe as wide as it needs."""
    print_view(songs_view(lines, title, note), width=max(table_width(lines), len(title), len(note)))


def print_records(records: Sequence[Mapping[str, Any]], form: Form) -> None:
    """Print records for programs; NaN is null in JSON and nothing in CSV."""
    plain = [{name: _plain(value) for name, value in record.items()} for record in records]
    if form is Form.CSV:
        columns = list(dict.fromkeys(name for record in plain for name in record))
        typer.echo(csv_text(columns, plain), nl=False)
    else:
        typer.echo("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in plain), nl=False)


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def exit_code(errors: Sequence[str]) -> int:
    """Return 0 where all songs were scored, 3 where some were, 1 where none was.

    >>> exit_code(["", ""]), exit_code(["", "cannot decode"]), exit_code(["cannot decode"])
    (0, 3, 1)
    """
    if not any(errors):
        return 0
    return NOTHING_SCORED if all(errors) else SOME_FAILED


def score(songs: Sequence[RequestedSong], options: ModelOptions, form: Form) -> int:
    """Score songs, print what they got, and return the exit code."""
    scored = score_songs(songs, options)
    if form is Form.TABLE:
        lines = [
            SongLine(song.name, one.alignment, one.musicality, one.error)
            for song, one in zip(songs, scored.scores, strict=True)
        ]
        print_table(lines)
    else:
        print_records([song_record(song, one) for song, one in zip(songs, scored.scores, strict=True)], form)
    return exit_code([one.error for one in scored.scores])


def song_record(song: RequestedSong, scored: Score) -> dict[str, Any]:
    """Return a song's line for programs: what its request had, and its scores."""
    own = dict(song.fields) or {"audio": song.name}
    return own | {"musicality": scored.musicality, "alignment": scored.alignment, "error": scored.error}


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
        print_table(lines, title=title, note=f"By {rule.in_words}: {best}.")


def _shortened(instruction: Instruction) -> str:
    said = " ".join((instruction.text or instruction.lyrics or "no text").split())
    return said if len(said) <= TITLE_LENGTH else said[: TITLE_LENGTH - 3] + "..."
