"""Addresses of fsspec, such as `s3://bucket/folder`, where a folder or a file may be named as well.

A place is a local folder or file (`Path`) or such an address (`str`, as `Path` would take a slash away).
"""

import contextlib
import errno
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from cmi_bench.errors import UserError
from cmi_bench.utils.files import content_key, open_regular, without_credentials
from cmi_bench.utils.installation import cache_folder, install_command

Place = Path | str
"""A local path, or an address of fsspec."""
LOCAL = ("file", "local")
"""Protocols of addresses that are local paths."""


def place_of(name: str | Path) -> Place:
    """Return a local path, or an address as it is; `file://...` is a path.

    >>> place_of("s3://bucket/cache/"), place_of("file:///data/cache")
    ('s3://bucket/cache', PosixPath('/data/cache'))
    """
    protocol, separator, rest = str(name).partition("://")
    if not separator:
        return Path(name)
    return Path(rest) if protocol in LOCAL else str(name).rstrip("/")


def below(place: Place, *names: str) -> Place:
    """Return the place of what is below a place.

    >>> below("s3://bucket", "cache", "scores")
    's3://bucket/cache/scores'
    """
    return place.joinpath(*names) if isinstance(place, Path) else "/".join((place, *names))


def absolute(place: Place) -> Place:
    """Return a place that does not depend on the current folder."""
    return place.absolute() if isinstance(place, Path) else place


def folders_in(place: Place) -> list[str]:
    """Return the names of the folders in a place, sorted; none where it is not there.

    Raises:
        OSError: It cannot be read.
        UserError: See `open_address`.
    """
    if isinstance(place, Path):
        return sorted(path.name for path in place.iterdir() if path.is_dir()) if place.is_dir() else []
    filesystem, path = open_address(place)
    with remote_errors(place):
        filesystem.invalidate_cache(path)
        try:
            entries = filesystem.ls(path, detail=True)
        except FileNotFoundError:
            return []
    return sorted(one["name"].rstrip("/").rsplit("/", 1)[-1] for one in entries if one["type"] == "directory")


def try_to_write(place: Place) -> None:
    """Make a folder, and write a file that is removed at once, to find out whether that is possible.

    Raises:
        OSError: It is not.
        UserError: See `open_address`.
    """
    folder = on_this_machine(place)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"\0")
    if isinstance(place, str):
        filesystem, path = open_address(place)
        with remote_errors(place):
            test = f"{path}/.write_test_{uuid.uuid4().hex}"
            filesystem.pipe_file(test, b"\0")
            filesystem.rm_file(test)


def on_this_machine(place: Place) -> Path:
    """Return the folder for what belongs to a place and to this machine only, such as locks: of a folder, itself."""
    return place if isinstance(place, Path) else cache_folder() / "addresses" / content_key(address=place)[:16]


def open_address(address: str) -> tuple[Any, str]:
    """Return the file system of an address (`fsspec.AbstractFileSystem`) and the path in it.

    Credentials and end points come from where the package of the file system looks for them (of `s3://`: what AWS's
    own tools read), or from fsspec's own configuration.

    Raises:
        UserError: No such file system, or its package is not installed.
    """
    shown = without_credentials(address)
    protocol = address.partition("://")[0]
    import fsspec  # takes a while, and most commands name no address
    from fsspec.core import url_to_fs

    try:
        filesystem, path = url_to_fs(address)
    except ImportError as error:
        extra = install_command("s3") if protocol in ("s3", "s3a") else "pip install the package that it names"
        raise UserError(f"{shown} cannot be opened: {error}.", f"Install it: {extra}.") from error
    except ValueError as error:
        known = ", ".join(name for name in ("s3", "gs", "abfs", "hf", "memory") if name in fsspec.available_protocols())
        raise UserError(f"{shown} cannot be opened: {error}.", f"Known are {known} and fsspec's others.") from error
    return filesystem, str(path)


@contextlib.contextmanager
def remote_errors(address: str) -> Iterator[None]:
    """Let a remote file system fail as a local one does, whatever its package raises.

    Raises:
        OSError: With the address as `filename`, and the reason as `strerror`.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # packages of file systems have exceptions of their own: no credentials, no such host
        kind = type(error) if isinstance(error, OSError) else OSError
        reason = " ".join(str(getattr(error, "strerror", None) or error).split()) or type(error).__name__
        number = getattr(error, "errno", None) or errno.EIO
        raise kind(number, without_credentials(reason), without_credentials(address)) from error


def open_place(place: Place) -> BinaryIO:
    """Open a file for reading, from any position.

    Raises:
        OSError: It is not there, cannot be read, or is no regular file.
        UserError: See `open_address`.
    """
    if isinstance(place, Path):
        return open_regular(place)
    filesystem, path = open_address(place)
    with remote_errors(place):
        return cast("BinaryIO", filesystem.open(path, "rb"))
