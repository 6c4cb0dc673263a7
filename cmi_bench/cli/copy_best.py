"""Copy the best songs of a ranking into a folder, named in their order; nothing is overwritten."""

import filecmp
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cmi_bench.errors import UserError

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
