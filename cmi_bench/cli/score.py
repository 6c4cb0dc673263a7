"""`cmi-bench score`: the scores of songs, in the order given."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cmi_bench.cli.output import Form, exit_code, print_records, print_table
from cmi_bench.cli.scoring import ModelOptions, score_songs
from cmi_bench.cli.wanted import WantedSong
from cmi_bench.reporting.songs_table import SongLine

if TYPE_CHECKING:
    from cmi_bench.inference.scores import ClipScore


def score(songs: Sequence[WantedSong], options: ModelOptions, form: Form) -> int:
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


def song_record(song: WantedSong, scored: "ClipScore") -> dict[str, Any]:
    """Return a song's line for programs: what its request had, and its scores."""
    own = dict(song.fields) or {"audio": song.name}
    return own | {"musicality": scored.musicality, "alignment": scored.alignment, "error": scored.error}
