"""The songs that are named on the command line: files, and folders of files."""

from collections.abc import Sequence
from pathlib import Path

from cmi_bench.cli.wanted import Instruction, WantedSong
from cmi_bench.data.manifest.audio_files import AUDIO_SUFFIXES, audio_below
from cmi_bench.errors import UserError


def named_songs(paths: Sequence[Path], instruction: Instruction) -> list[WantedSong]:
    """Return the songs in the order given; those of a folder, with all below it, in the order of their names.

    Raises:
        UserError: One is not there, or a folder holds no audio.
    """
    files = [file for path in paths for file in _files(path)]
    if instruction.ref_audio is not None and not instruction.ref_audio.is_file():
        raise UserError(f"The reference {instruction.ref_audio} does not exist.", "Check the path given as --ref.")
    return [WantedSong(file, instruction, name=str(file)) for file in files]


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        found = [path / file for file in audio_below(path)]
        if not found:
            raise UserError(f"{path} holds no audio files.", f"Known are {', '.join(sorted(AUDIO_SUFFIXES))}.")
        return found
    if not path.exists():
        raise UserError(f"{path} does not exist.", "Check the path; it is relative to the folder you are in.")
    return [path]
