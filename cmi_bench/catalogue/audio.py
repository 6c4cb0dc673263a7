"""The audio of songs at hand: local files where they are, remote ones fetched for as long as they are needed."""

import errno
import os
import shutil
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Protocol

from cmi_bench.data.audio_info import AudioIndex, FileFacts
from cmi_bench.errors import RunError, UserError
from cmi_bench.utils.addresses import Place, open_address, remote_errors
from cmi_bench.utils.files import without_credentials


class AudioAtHand(AudioIndex, Protocol):
    """Knows where audio lies on this machine, and what it is."""

    def path(self, place: Place) -> Path:
        """Return where audio lies on this machine; of what could not be fetched, where it would."""
        ...


class SongFiles:
    """Audio that is fetched and looked at by threads, ahead of its use; an `AudioAtHand`.

    As a context it removes what was fetched when the block is left.
    """

    def __init__(
        self, places: Iterable[Place], folder: Path, pool: Executor, facts: Callable[[Path], FileFacts]
    ) -> None:
        """Begin to fetch.

        Args:
            places: Where the audio is; each is fetched once.
            folder: For what is fetched; of these songs alone.
            pool: Fetches, and reads files.
            facts: Looks at a file.
        """
        self._folder = folder
        self._paths = {
            place: _fetched_name(folder, number, place) if isinstance(place, str) else place
            for number, place in enumerate(dict.fromkeys(places))
        }
        if self.remote:
            folder.mkdir(parents=True)
        self._found: dict[Path, Future[FileFacts]] = {
            path: pool.submit(_look_at, place, path, facts) for place, path in self._paths.items()
        }

    def __enter__(self) -> "SongFiles":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        for future in self._found.values():
            future.cancel()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def remote(self) -> list[str]:
        """The places that are addresses."""
        return [place for place in self._paths if isinstance(place, str)]

    @property
    def fetched(self) -> frozenset[Path]:
        """The paths of what was fetched, or is to be."""
        return frozenset(self._paths[place] for place in self.remote)

    def path(self, place: Place) -> Path:
        """Return where audio lies on this machine."""
        return self._paths[place]

    def facts(self, path: Path) -> FileFacts:
        """Return a file's digest and length; see `AudioIndex`."""
        return self._found[path].result()

    def check_reachable(self) -> None:
        """Make sure that something could be fetched, where much was to be: else no single song is to blame.

        Raises:
            RunError: Nothing could be, and not because it is not there.
        """
        remote = self.remote
        reasons = [self._reason(place) for place in remote]
        if len(remote) >= MANY and all(reasons):
            raise RunError(
                f"None of {len(remote)} songs could be fetched, such as {without_credentials(remote[0])}:"
                f" {reasons[0]}.",
                "Check the network and the credentials; then run again: it goes on.",
            )

    def _reason(self, place: str) -> str:
        error = self._found[self._paths[place]].exception()
        return "" if error is None or isinstance(error, FileNotFoundError) else str(getattr(error, "strerror", error))


MANY = 8
"""Songs of which one at least can be fetched, unless something is wrong with the way to all of them."""


def _fetched_name(folder: Path, number: int, place: str) -> Path:
    # The suffix tells decoders what it is; the rest of an address may be longer than a name can be.
    return folder / f"{number:06d}{PurePosixPath(place.partition('?')[0]).suffix[:8]}"


def _look_at(place: Place, path: Path, facts: Callable[[Path], FileFacts]) -> FileFacts:
    if isinstance(place, str):
        try:
            fetch(place, path)
        except RunError:
            raise
        except UserError as error:  # no such file system: of this song alone, as far as anybody knows
            raise OSError(errno.EINVAL, error.what, without_credentials(place)) from error
    return facts(path)


def fetch(address: str, path: Path) -> None:
    """Copy a remote file to this machine.

    Args:
        address: Of fsspec.
        path: Where to; its folder is there.

    Raises:
        OSError: It is not there, or cannot be read; `filename` is the address.
        RunError: This machine's disk is full.
    """
    filesystem, remote = open_address(address)
    try:
        with remote_errors(address):
            filesystem.get_file(remote, str(path))
    except OSError as error:
        path.unlink(missing_ok=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise RunError(
                f"The disk that holds {path.parent} is full: audio is fetched to it.",
                f"Make room, or set {'TMPDIR' if os.name == 'posix' else 'TEMP'} to another disk; then run again: it"
                " goes on.",
            ) from error
        raise
