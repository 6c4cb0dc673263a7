"""Packs at an address of fsspec, such as `s3://bucket/cache`: uploaded whole, read by ranges of bytes.

What lies there is never changed. A pack is written on this machine first, and sent when it is full or a while has
passed; its unique name makes many writers safe without a lock. A pack that a killed process has left here is sent by
the next one.
"""

import contextlib
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cmi_bench.errors import RunError, UserError
from cmi_bench.scoring.pack_folder import INDEX, PACK, PackFacts, PackFolder, Span, facts_of_files, unused_packs
from cmi_bench.utils.addresses import open_address, remote_errors
from cmi_bench.utils.files import without_credentials

log = logging.getLogger(__name__)

FIRST_PATIENCE, LAST_PATIENCE = 60.0, 960.0
"""Seconds after which entries are sent: doubled each time, so that a day's work makes some hundred packs."""


class PackAddress:
    """The packs at an address; it has the methods of `PackFolder`."""

    gap = 1 << 18
    """As of `PackFolder`: a request takes as long as some hundred kilobytes."""
    patience = 10.0

    def __init__(self, address: str) -> None:
        self.address = address
        self._opened: tuple[int, Any, str] | None = None

    def __str__(self) -> str:
        return without_credentials(self.address)

    def index_sizes(self) -> dict[str, int]:
        """Return the bytes of each pack's index, by name."""
        return {name.removesuffix(INDEX): size for name, size in self._sizes().items() if name.endswith(INDEX)}

    def read_indexes(self, spans: Mapping[str, Span]) -> dict[str, bytes]:
        """Return spans of indexes, by name; of one that is gone, nothing."""
        contents = self._ranges([(name + INDEX, span) for name, span in spans.items()])
        return {name: one for name, one in zip(spans, contents, strict=True) if one is not None}

    def read(self, name: str, spans: Sequence[Span]) -> list[bytes]:
        """Return spans of a pack.

        Raises:
            FileNotFoundError: The pack is gone.
        """
        contents = [one for one in self._ranges([(name + PACK, span) for span in spans]) if one is not None]
        if len(contents) < len(spans):
            raise FileNotFoundError(f"{self}/{name}{PACK}")
        return contents

    def facts(self) -> list[PackFacts]:
        """Return what is known of all packs, by name; nothing marks there what is used, which is when it was begun."""
        return facts_of_files({name: (size, int(name[:16], 16) / 1e9) for name, size in self._sizes().items()})

    def remove(self, name: str, *, force: bool = False) -> bool:
        """Remove a pack; nobody writes to one that is here."""
        with self._reached() as (filesystem, path):
            for suffix in (INDEX, PACK):
                with contextlib.suppress(FileNotFoundError):
                    filesystem.rm_file(f"{path}/{name}{suffix}")
        return True

    def forget(self, name: str) -> None:
        """Do nothing: no file is open."""

    def upload(self, name: str, folder: PackFolder) -> None:
        """Send a pack, and then its index, without which nobody looks for it."""
        with self._reached() as (filesystem, path):
            if not filesystem.async_impl:  # object stores have no folders, and might make a bucket of it
                filesystem.makedirs(path, exist_ok=True)
            for suffix in (PACK, INDEX):
                filesystem.put_file(str(folder.folder / (name + suffix)), f"{path}/{name}{suffix}")

    def _sizes(self) -> dict[str, int]:
        with self._reached() as (filesystem, path):
            filesystem.invalidate_cache(path)
            try:
                files = filesystem.ls(path, detail=True)
            except FileNotFoundError:
                return {}
        named = {str(file["name"]).rsplit("/", 1)[-1]: int(file["size"] or 0) for file in files}
        return {name: size for name, size in named.items() if name.endswith((PACK, INDEX))}

    def _ranges(self, wanted: Sequence[tuple[str, Span]]) -> list[bytes | None]:
        """Return ranges of files, side by side where the file system can; None of a file that is not there."""
        with self._reached() as (filesystem, path):
            found = filesystem.cat_ranges(
                [f"{path}/{name}" for name, _ in wanted],
                [start for _, (start, _) in wanted],
                [end for _, (_, end) in wanted],
                on_error="return",
            )
            for one in found:
                if isinstance(one, Exception) and not isinstance(one, FileNotFoundError):
                    raise one
        return [None if isinstance(one, FileNotFoundError) else bytes(one) for one in found]

    @contextlib.contextmanager
    def _reached(self) -> Iterator[tuple[Any, str]]:
        """Yield the file system and the path in it.

        Raises:
            UserError: See `open_address`.
            RunError: It cannot be reached, or refuses.
        """
        if self._opened is None or self._opened[0] != os.getpid():  # connections do not outlive a fork
            self._opened = (os.getpid(), *open_address(self.address))
        try:
            with remote_errors(self.address):
                yield self._opened[1:]
        except FileNotFoundError:
            raise
        except OSError as error:
            raise RunError(
                f"{self} cannot be used: {error.strerror}.",
                "Check the network and the credentials; then run again: it goes on.",
            ) from error


class Shipment:
    """What was written on this machine and is sent to an address."""

    def __init__(self, folder: PackFolder, address: PackAddress) -> None:
        self.folder = folder
        self.address = address
        self._patience = FIRST_PATIENCE
        self._since: float | None = None

    def is_due(self) -> bool:
        """Tell whether what was written first has waited long enough; to be asked after each writing."""
        if self._since is None:
            self._since = time.monotonic()
        return time.monotonic() - self._since >= self._patience

    def send(self) -> None:
        """Send all packs that no process writes to; what cannot be sent stays here, and is sent later."""
        self._since = None
        self._patience = min(2 * self._patience, LAST_PATIENCE)
        try:
            for pack in unused_packs(self.folder.folder, without_locks=True):
                if pack.entries:
                    self.address.upload(pack.name, self.folder)
                self.folder.remove(pack.name, force=True)  # its lock is ours
        except (UserError, OSError) as error:
            waiting = sum(facts.bytes for facts in self.folder.facts())
            log.warning(
                "%.1f MB could not be sent to %s (%s). They are kept in %s, and sent later, by the next run if not by"
                " this one.", waiting / 1e6, self.address, getattr(error, "what", error), self.folder,
            )  # fmt: skip
