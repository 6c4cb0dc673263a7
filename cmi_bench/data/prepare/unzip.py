"""Unpack a part of a zip file, and nothing outside the folder that it is for."""

import shutil
import zipfile
from collections.abc import Collection
from pathlib import Path

from cmi_bench.data.prepare.fetch import PARTIAL
from cmi_bench.data.prepare.host import no_space
from cmi_bench.data.prepare.paths import inside
from cmi_bench.data.prepare.space import check_space
from cmi_bench.errors import UserError


def unzip(archive: Path, root: Path, *, below: str, replace: Collection[str]) -> list[str]:
    """Unpack the files of one folder of an archive; each appears under its name only when it is whole.

    Args:
        archive: The zip file.
        root: Where its paths are relative to.
        below: The folder in it, with a slash at its end.
        replace: Paths that are unpacked even if there is such a file.

    Returns:
        The paths of the folder's files, whether they were unpacked or there already.

    Raises:
        UserError: A name in the archive leads out of the folder (then nothing is unpacked), it is damaged, or there
            is no space.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [member for member in opened.infolist() if not member.is_dir()]
            for member in members:
                inside(root, member.filename, named_in=archive.name)
            chosen = [member for member in members if member.filename.startswith(below)]
            todo = [one for one in chosen if one.filename in replace or not (root / one.filename).exists()]
            check_space(root, sum(member.file_size for member in todo), what=f"unpacking {archive.name}")
            for member in todo:
                _extract(opened, member, root / member.filename)
    except zipfile.BadZipFile as error:
        archive.unlink(missing_ok=True)
        raise UserError(f"{archive.name} is damaged: {error}", "It was removed; run the same command again.") from error
    return [member.filename for member in chosen]


def _extract(opened: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    partial = target.with_name(target.name + PARTIAL)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with opened.open(member) as source, partial.open("wb") as file:
            shutil.copyfileobj(source, file)
        partial.replace(target)
    except OSError as error:
        raise no_space(target, error) from error
    finally:
        partial.unlink(missing_ok=True)
