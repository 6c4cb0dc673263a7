"""Bring the benchmark's data, and a model's checkpoint, onto this machine.

What is there and right is left alone, an interrupted download goes on where it stopped, and a file appears under
its name only when it is complete. One way through it:

`rows_files` (which rows) -> `state` (which of their files are missing or damaged) -> a source per dataset (where
they come from: `hub_files`, `pam`, `music_eval`) -> `plan` (what and how much) -> `fetch` (in parallel) ->
unpack -> `record` (what is there now, for the next time).

`task=prepare`, from the rows' files to the last checksum.

What there is to do: how much, from where, to where, and whether it fits.

Do what the plan says.

Which source has to give which files.

What there is when `task=prepare` is done, in words.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from rich.table import Table

from cmi_bench.config import SourcesConfig
from cmi_bench.data.datasets import Dataset
from cmi_bench.data.manifest import Manifest, read_manifest, update_manifest
from cmi_bench.data.rows import load_rows
from cmi_bench.download.http import Item, fetch_all, raise_first
from cmi_bench.download.model_files import checkpoint_works
from cmi_bench.download.sources import (
    TEST,
    TRAINING,
    benchmark_sources,
    fetch_rows,
    songeval_works,
    training_audio,
    training_sources,
)
from cmi_bench.download.state import (
    Need,
    Source,
    Work,
    add_to_record,
    check_space,
    free_bytes,
    in_words,
    inside,
    read_record,
    wrong_files,
)
from cmi_bench.errors import UserError
from cmi_bench.utils.console import FileCount

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """All that has to be fetched and unpacked."""

    works: tuple[Work, ...]
    root: Path
    """The data root."""

    @property
    def downloads(self) -> list[Item]:
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


def carry_out(plan: Plan, client: httpx2.Client, *, root: Path, jobs: int) -> None:
    """Fetch, unpack and record; what is complete when something else fails is unpacked and recorded as well.

    Raises:
        UserError: Something could not be had.
    """
    failures = fetch_all(client, plan.downloads, jobs=jobs)
    for work in plan.works:
        if not any(item.target in failures for item in work.downloads):
            _finish(work, root)
    raise_first(failures)


def _finish(work: Work, root: Path) -> None:
    if work.unpacked_bytes:
        log.info("Unpacking %s ...", work.name)
    contents = dict(work.contents) | dict(work.finish())
    if contents:
        add_to_record(root, work.slug, contents, origin=work.origin)


SHOWN = 3


def by_source(paths: Iterable[str], sources: Sequence[Source], *, root: Path, rows: Path) -> dict[str, list[str]]:
    """Distribute the files that rows name among the sources, by folder.

    Args:
        paths: Audio paths, relative to the data root.
        sources: Where files may come from.
        root: The data root.
        rows: The rows' file, for messages.

    Returns:
        Paths by the source's slug; every source has an entry.

    Raises:
        UserError: A path leads out of the data root, or belongs to no source and is not there either.
    """
    chosen: dict[str, list[str]] = {source.slug: [] for source in sources}
    slugs = {source.folder: source.slug for source in sources}
    homeless = []
    for path in paths:
        file = inside(root, path, named_in=str(rows))
        slug = slugs.get(path.partition("/")[0])
        if slug is not None:
            chosen[slug].append(path)
        elif not file.is_file():
            homeless.append(path)
    if homeless:
        more = f" and {len(homeless) - SHOWN} more" if len(homeless) > SHOWN else ""
        raise UserError(
            f"Nobody here knows where to get {', '.join(homeless[:SHOWN])}{more}, which {rows} names.",
            f"Put them under {root}; the folders that can be fetched are {', '.join(slugs)}.",
        )
    return chosen


def need_of(source: Source, wanted: Sequence[str], *, root: Path, manifest: Manifest) -> Need:
    """Return what a source is asked for, as far as the data root lacks it."""
    record = read_record(root, source.slug)
    if source.is_whole and record is not None:
        wanted = list(record.contents)
    wrong = wrong_files(root, wanted, manifest=manifest, record=record)
    return Need(wanted, wrong)


def is_needed(source: Source, need: Need, *, root: Path) -> bool:
    """Tell whether a source has to be asked at all."""
    return bool(need.wrong) or (source.is_whole and read_record(root, source.slug) is None)


@dataclass(frozen=True)
class Order:
    """What is to be prepared."""

    root: Path
    """The data root."""
    jsonl: Path
    """The test rows' file."""
    manifest: Path
    split: str
    datasets: Sequence[Dataset]
    limit: int | None
    """At most this many rows of each dataset."""
    with_training: bool
    is_synthesised: bool
    """The data root makes itself: nothing of it comes from elsewhere."""
    model: dict[str, Any]
    """The composed `model` group."""
    sources: SourcesConfig
    jobs: int
    """Files fetched at the same time."""


@dataclass(frozen=True)
class Preparation:
    """An order, and the connections to carry it out."""

    order: Order
    client: httpx2.Client

    def fetch_rows(self) -> list[Path]:
        """Fetch the rows' files that are not there; return those that were.

        Raises:
            UserError: One cannot be had.
        """
        order, base = self.order, self.order.sources.rows.rstrip("/")
        if order.is_synthesised:
            return []
        fetched = []
        if fetch_rows(
            self.client, f"{base}/{TEST}", order.jsonl, check=lambda file: load_rows(file, split=order.split)
        ):
            fetched.append(order.jsonl)
        training = order.root / TRAINING
        if order.with_training and fetch_rows(self.client, f"{base}/{TRAINING}", training, check=training_audio):
            fetched.append(training)
        return fetched

    def plan(self) -> Plan:
        """Find out what is missing or damaged, and how to get it; only sources that lack something are asked.

        Raises:
            UserError: A source cannot be asked, or does not have it.
        """
        order = self.order
        wanted = self.wanted()
        manifest = self.look(wanted)
        chosen = by_source(wanted, self._sources(), root=order.root, rows=order.jsonl)
        works: list[Work] = []
        for source in self._sources():
            need = need_of(source, chosen[source.slug], root=order.root, manifest=manifest)
            if is_needed(source, need, root=order.root):
                works.append(source.find(need, manifest))
        works += songeval_works(order.model, order.sources.songeval)
        return Plan((*works, *checkpoint_works(order.model, order.sources.hub)), order.root)

    def wanted(self) -> list[str]:
        """Return the audio that rows name, each file once, relative to the data root.

        Raises:
            UserError: The rows are not right.
        """
        order = self.order
        rows = load_rows(order.jsonl, split=order.split, datasets=order.datasets, limit=order.limit).rows
        paths = [path for row in rows for path in row.audio_files]
        if order.with_training:
            paths += training_audio(order.root / TRAINING)
        return list(dict.fromkeys(paths))

    def look(self, paths: Sequence[str]) -> Manifest:
        """Bring the manifest up to date for the files that are there, each of which is decoded once."""
        order = self.order
        return update_manifest(order.root, order.manifest, paths, hear=True, progress=FileCount("checking audio"))

    def carry_out(self, plan: Plan) -> None:
        """Do what the plan says, and look at what has come.

        Raises:
            UserError: There is no room, or something cannot be had.
        """
        plan.check_space()
        carry_out(plan, self.client, root=self.order.root, jobs=self.order.jobs)
        self.look(self.wanted())

    def _sources(self) -> list[Source]:
        order = self.order
        if order.is_synthesised:
            return []
        sources = list(benchmark_sources(order.sources, order.root, self.client))
        return sources + list(training_sources(order.sources, order.root)) if order.with_training else sources


def summary(preparation: Preparation) -> str:
    """Return one line about the audio that is there; what of it cannot be decoded is warned about."""
    order = preparation.order
    known = read_manifest(order.manifest).records
    records = [known[path] for path in preparation.wanted() if path in known]
    broken = [record.path for record in records if record.error]
    if broken:
        more = f" and {len(broken) - SHOWN} more" if len(broken) > SHOWN else ""
        log.warning(
            "Upstream's own, but not to be decoded: %s%s. `python run.py task=doctor` says why.",
            ", ".join(broken[:SHOWN]),
            more,
        )
    size = in_words(sum(record.bytes for record in records))
    hours = sum(record.seconds or 0.0 for record in records) / 3600
    return f"All there: {len(records):,} audio files, {size}, {hours:,.1f} hours, in {order.root}"
