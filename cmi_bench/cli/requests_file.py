"""A file of requests: songs with their instructions."""

from pathlib import Path

from cmi_bench.cli.records_file import Record, check_columns, read_records
from cmi_bench.cli.wanted import Instruction, WantedSong

AUDIO, TEXT, LYRICS, REF_AUDIO = "audio", "text", "lyrics", "ref_audio"


def requested_songs(path: Path) -> list[WantedSong]:
    """Read JSON lines or CSV with the columns audio, text, lyrics, ref_audio; all but the first may be left out.

    Paths are relative to the file's folder. Other columns are carried through. Whether the audio is there is not
    looked at: a song that cannot be read fails by itself.

    Raises:
        UserError: The file, or a line of it, is not right.
    """
    records = read_records(path)
    check_columns(records, path, AUDIO)
    return [_song(record, path.parent) for record in records]


def _song(record: Record, folder: Path) -> WantedSong:
    audio, reference = record.needed(AUDIO), record.text(REF_AUDIO)
    instruction = Instruction(record.text(TEXT), record.text(LYRICS), folder / reference if reference else None)
    return WantedSong(folder / audio, instruction, name=audio, fields=record.fields)
