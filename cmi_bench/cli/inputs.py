"""What a command is to score: songs named on the command line or in a file of requests, with their instructions.

Every error names the file and the line.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from cmi_bench.data.manifest import AUDIO_SUFFIXES, audio_below
from cmi_bench.data.tables import read_table
from cmi_bench.errors import UserError, did_you_mean
from cmi_bench.types import Clip


class Record(NamedTuple):
    """One record of a file."""

    where: str
    """For messages: "requests.csv, line 3"."""
    fields: dict[str, Any]

    def text(self, name: str) -> str:
        """Return a field's text, "" where it is absent or null.

        Raises:
            UserError: It is something else than text.
        """
        value = self.fields.get(name)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise UserError(f"{self.where}: {name!r} is {value!r}, not text.", "Write it in quotation marks.")
        return value

    def needed(self, name: str) -> str:
        """Return a field's text.

        Raises:
            UserError: It is absent, empty or no text.
        """
        if name not in self.fields:
            raise UserError(f"{self.where}: there is no {name!r}.", did_you_mean(name, self.fields))
        value = self.text(name)
        if not value.strip():
            raise UserError(f"{self.where}: {name!r} is empty.", "Each record needs it.")
        return value


def read_records(path: Path) -> list[Record]:
    """Read a file by its suffix, see `data.tables`: JSON lines, a JSON list, CSV, TSV or Parquet.

    Raises:
        UserError: The file is missing, empty or not UTF-8, or a line is not what it should be.
    """
    table = read_table(path)
    return [Record(f"{path}, {table.place(line.number)}", line.value) for line in table.lines]


def check_columns(records: Sequence[Record], path: Path, *columns: str) -> None:
    """Make sure that a file has columns at all, before single records are blamed.

    Raises:
        UserError: No record has one of them.
    """
    known = dict.fromkeys(name for record in records for name in record.fields)
    for column in columns:
        if column not in known:
            raise UserError(f"{path} has no column {column!r}.", did_you_mean(column, known))


STDIN = Path("-")


def read_text(given: str | None, file: Path | None, option: str) -> str:
    """Return a prompt or lyrics: given as text, or in a file; "" where there is neither.

    Args:
        given: The text itself, taken as it is.
        file: UTF-8; "-" is stdin. White space at the end is cut off.
        option: What the user calls the text, such as "--text".

    Raises:
        UserError: Both are given, or the file cannot be read.
    """
    if given is not None and file is not None:
        raise UserError(f"Both {option} and {option}-file are given.", "Give one of them.")
    if file is None:
        return given or ""
    try:
        text = sys.stdin.read() if file == STDIN else file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{option}-file {file} is no text in UTF-8.", "Save it as UTF-8.") from error
    except OSError as error:
        raise UserError(f"{option}-file {file} cannot be read: {error.strerror}.", "Check the path.") from error
    return text.rstrip()


class Instruction(NamedTuple):
    """What a song was made from."""

    text: str = ""
    lyrics: str = ""
    ref_audio: Path | None = None


@dataclass(frozen=True)
class RequestedSong:
    """A clip to score, as the user asked for it."""

    clip: Clip
    name: str
    """How the user calls it."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """What stands in the file of requests, carried through to the results."""

    @property
    def instruction(self) -> Instruction:
        """What it was made from: songs with the same instruction compete."""
        return Instruction(self.clip.text, self.clip.lyrics, self.clip.ref_audio)


AUDIO, TEXT, LYRICS, REF_AUDIO = "audio", "text", "lyrics", "ref_audio"


def requested_songs(path: Path) -> list[RequestedSong]:
    """Read JSON lines or CSV with the columns audio, text, lyrics, ref_audio; all but the first may be left out.

    Paths are relative to the file's folder. Other columns are carried through. Whether the audio is there is not
    looked at: a song that cannot be read fails by itself.

    Raises:
        UserError: The file, or a line of it, is not right.
    """
    records = read_records(path)
    check_columns(records, path, AUDIO)
    return [_song(number, record, path.parent) for number, record in enumerate(records, start=1)]


def _song(number: int, record: Record, folder: Path) -> RequestedSong:
    audio, reference = record.needed(AUDIO), record.text(REF_AUDIO)
    clip = Clip(
        clip_id=f"{number}:a",
        audio=folder / audio,
        text=record.text(TEXT),
        lyrics=record.text(LYRICS),
        ref_audio=folder / reference if reference else None,
    )
    return RequestedSong(clip, name=audio, fields=record.fields)


def named_songs(paths: Sequence[Path], instruction: Instruction) -> list[RequestedSong]:
    """Return the songs in the order given; those of a folder, with all below it, in the order of their names.

    One that is not there is a song too: it fails by itself, and costs the others nothing.

    Raises:
        UserError: None is there, or a folder holds no audio.
    """
    if paths and not any(path.exists() for path in paths):
        missing = paths[0] if len(paths) == 1 else f"None of the {len(paths)} songs, such as {paths[0]},"
        raise UserError(
            f"{missing} {'does not exist' if len(paths) == 1 else 'exists'}.",
            "Check the path; it is relative to the folder you are in.",
        )
    files = [file for path in paths for file in _files(path)]
    if instruction.ref_audio is not None and not instruction.ref_audio.is_file():
        raise UserError(f"The reference {instruction.ref_audio} does not exist.", "Check the path given as --ref.")
    return [
        RequestedSong(Clip(f"{number}:a", file, *instruction), name=str(file))
        for number, file in enumerate(files, start=1)
    ]


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        found = [path / file for file in audio_below(path)]
        if not found:
            raise UserError(f"{path} holds no audio files.", f"Known are {', '.join(sorted(AUDIO_SUFFIXES))}.")
        return found
    return [path]
