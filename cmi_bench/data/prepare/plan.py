"""What there is to do: how much, from where, to where, and whether it fits."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from cmi_bench.data.prepare.fetch import Download
from cmi_bench.data.prepare.space import check_space, free_bytes, in_words
from cmi_bench.data.prepare.work import Work


@dataclass(frozen=True)
class Plan:
    """All that has to be fetched and unpacked."""

    works: tuple[Work, ...]
    root: Path
    """The data root."""

    @property
    def downloads(self) -> list[Download]:
        """What is not fetched yet."""
        return [item for work in self.works for item in work.downloads if not item.is_there]

    def check_space(self) -> None:
        """See whether there is room for all of it.

        Raises:
            UserError: A disk has too little.
        """
        needed: dict[int, int] = {}
        folders: dict[int, Path] = {}
        for work in self.works:
            disk = _disk(work.folder)
            folders.setdefault(disk, work.folder)
            needed[disk] = needed.get(disk, 0) + work.download_bytes + work.unpacked_bytes
        for disk, count in needed.items():
            check_space(folders[disk], count, what="the download")

    def table(self) -> Table:
        """Return the plan for the terminal."""
        table = Table(title=f"To fetch into {self.root}", title_justify="left", title_style="bold")
        for column in ("what", "from", "into"):
            table.add_column(column, overflow="fold")
        for column in ("files", "download", "unpacked"):
            table.add_column(column, justify="right", no_wrap=True)
        for work in self.works:
            table.add_row(*self._cells(work))
        return table

    def total(self) -> str:
        """Return the sum in words, with the free space where most of it goes."""
        free = free_bytes(self.works[0].folder)
        return f"{in_words(sum(work.download_bytes for work in self.works))} to download, {in_words(free)} free."

    def _cells(self, work: Work) -> Sequence[str]:
        into = str(work.folder.relative_to(self.root) if work.folder.is_relative_to(self.root) else work.folder)
        unpacked = in_words(work.unpacked_bytes) if work.unpacked_bytes else ""
        return (work.name, work.origin, into, f"{work.files:,}", in_words(work.download_bytes), unpacked)


def _disk(folder: Path) -> int:
    """Return a number for the file system that a folder is on, or is to be made on."""
    return next(one for one in (folder, *folder.absolute().parents) if one.exists()).stat().st_dev
