"""`cmi-bench score`: the scores of songs in the order given, and what all commands share: scoring and printing.

Songs are scored with the benchmark's stages, cache and stores, but without a run's folder. Results are a table for
people, JSON lines or CSV for programs.
"""

import json
import logging
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from cmi_bench.cli.inputs import RequestedSong
from cmi_bench.cli.options import Form, ModelOptions
from cmi_bench.data.fields import SPREAD
from cmi_bench.errors import UserError
from cmi_bench.reporting.format import csv_text
from cmi_bench.reporting.terminal import SongLine, songs_view, table_width
from cmi_bench.types import Aspect, Score
from cmi_bench.utils.command import loading
from cmi_bench.utils.console import print_view
from cmi_bench.utils.installation import command_line
from cmi_bench.utils.workspace import workspace

if TYPE_CHECKING:
    from cmi_bench.config import Config

log = logging.getLogger(__name__)

SOME_FAILED = 3
"""Exit code where songs could not be scored and others were."""
NOTHING_SCORED = 1


def score(songs: Sequence[RequestedSong], options: ModelOptions, form: Form) -> int:
    """Score songs, print what they got, and return the exit code."""
    scored = score_songs(songs, options)
    if form is Form.TABLE:
        lines = [SongLine(song.name, one) for song, one in zip(songs, scored.scores, strict=True)]
        print_table(lines, note=scored.alignment_remark)
    else:
        print_records([song_record(song, scored, index) for index, song in enumerate(songs)], form)
    return exit_code([one.error for one in scored.scores])


class ScoredSongs(NamedTuple):
    """What a command has to show."""

    model: str
    """Its name."""
    scores: list[Score]
    """One for each song, in their order."""
    alignment_notes: list[str]
    """What has to be known of each song's alignment; usually empty."""

    @property
    def is_ensemble(self) -> bool:
        """Whether scores have a spread."""
        return any(score.members for score in self.scores)

    @property
    def alignment_remark(self) -> str:
        """The same in a sentence for all songs; empty where there is nothing to say."""
        said = [note for note in self.alignment_notes if note]
        if not said:
            return ""
        some = f" (of {len(said)} of {len(self.scores)} songs)" if len(said) < len(self.scores) else ""
        return f"{said[0][0].upper()}{said[0][1:]}{some}."


def song_record(song: RequestedSong, scored: ScoredSongs, index: int) -> dict[str, Any]:
    """Return the line of the song with this index for programs: what its request had, and its scores."""
    own, one = dict(song.fields) or {"audio": song.name}, scored.scores[index]
    judged = (Aspect.MUSICALITY, Aspect.ALIGNMENT)
    spreads = {f"{aspect}{SPREAD}": one.spread(aspect) for aspect in judged} if scored.is_ensemble else {}
    return own | {
        **{aspect.value: one.value(aspect) for aspect in judged},
        **spreads,
        "alignment_note": scored.alignment_notes[index],
        "error": one.error,
    }


def score_songs(songs: Sequence[RequestedSong], options: ModelOptions) -> ScoredSongs:
    """Score songs; what cannot be scored says so by itself.

    Scores and embeddings are looked up and kept where the benchmark keeps them, so that the same command, stopped
    and started again, goes on where it was.

    Raises:
        UserError: The model, the device or a setting is not right, or nothing can be written.
    """
    config = model_config(options)
    log.info("Loading %s", config.model["name"])
    with loading("torch"):  # which takes two seconds: mistakes are told before
        from cmi_bench.api.load import build_judge
        from cmi_bench.api.songs import alignment_note
        from cmi_bench.data.audio_info import FileIndex
        from cmi_bench.scoring.batching import BatchLimits
        from cmi_bench.scoring.embedding_cache import prune_after_run
        from cmi_bench.scoring.local import LocalRunner
        from cmi_bench.scoring.score import score_clips

    clips = [song.clip for song in songs]
    limits = BatchLimits(config.batch_size, config.batch_seconds)
    runner = LocalRunner(limits, workers=config.workers, show_progress=True)
    model = build_judge(config, options.device)
    with workspace() as folder:
        found = score_clips(
            clips, model, runner, config=config, index=FileIndex(), folder=folder, with_batch_check=False
        ).scores
    prune_after_run(config.cache)
    scores = [found[clip.clip_id] for clip in clips]
    notes = [alignment_note(clip, one, model.unused_inputs) for clip, one in zip(clips, scores, strict=True)]
    return ScoredSongs(str(config.model["name"]), scores, notes)


def model_config(options: ModelOptions) -> "Config":
    """Return the configuration that options stand for; mistakes are found without torch.

    Raises:
        UserError: A name, a value, a device or a checkpoint is not right.
    """
    from cmi_bench.api.load import check_device
    from cmi_bench.hydra_compose import compose_config
    from cmi_bench.tasks.preflight import check_cache, check_model
    from cmi_bench.utils.addresses import absolute, place_of

    config = compose_config(
        options.model,
        {} if options.checkpoint is None else {"checkpoint": options.checkpoint},
        values={
            "max_dur": options.max_dur,
            "precision": options.precision,
            "on_error": "record",
            "cache.dir": options.cache_dir and str(absolute(place_of(options.cache_dir))),
        },
        overrides=[*(["cache=off"] if options.no_cache else []), *options.settings],
    )
    if config.profile:
        raise UserError("profile=true: songs alone leave no trace.", f"Profile a run: {command_line('profile=true')}.")
    check_model(config)
    check_device(options.device)
    check_cache(config)
    return config


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
