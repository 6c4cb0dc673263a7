"""`task=prepare`: bring the benchmark's data, and a model's checkpoint, onto this machine.

What is there and right is left alone, an interrupted download goes on where it stopped, and a file appears under
its name only when it is complete. One way through it:

rows' files -> which of the audio that they name is missing or damaged (`state`) -> where each comes from (`sources`,
`model_files`) -> `Plan` (what and how much) -> fetch (`fetch`) -> unpack -> record, for the next time (`state`).
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx2
from rich.filesize import decimal
from rich.table import Table

from cmi_bench.data.chosen import chosen_datasets
from cmi_bench.data.manifest import Manifest, read_manifest, update_manifest
from cmi_bench.data.rows import Row, load_rows, rows_inside
from cmi_bench.download.fetch import Download, fetch_all, raise_first
from cmi_bench.download.model_files import checkpoint_works, laion_clap_works, songeval_works
from cmi_bench.download.sources import (
    TEST,
    TRAINING,
    benchmark_sources,
    fetch_rows,
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
    inside,
    read_record,
    wrong_files,
)
from cmi_bench.errors import UserError
from cmi_bench.task_config import PrepareTask
from cmi_bench.utils.console import ItemCount, some_of
from cmi_bench.utils.installation import command_line

log = logging.getLogger(__name__)


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
        """Describe the sum, with the free space where most of it goes."""
        free = free_bytes(self.works[0].folder)
        return f"{decimal(sum(work.download_bytes for work in self.works))} to download, {decimal(free)} free."

    def _cells(self, work: Work) -> Sequence[str]:
        into = str(work.folder.relative_to(self.root) if work.folder.is_relative_to(self.root) else work.folder)
        unpacked = decimal(work.unpacked_bytes) if work.unpacked_bytes else ""
        return (work.name, work.origin, into, f"{work.files:,}", decimal(work.download_bytes), unpacked)


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
        raise UserError(
            f"Nobody here knows where to get {some_of(homeless)}, which {rows} names.",
            f"Put them under {root}; the folders that can be fetched are {', '.join(slugs)}.",
        )
    return chosen


def need_of(source: Source, wanted: Sequence[str], *, root: Path, manifest: Manifest) -> Need:
    """Return what a source is asked for, as far as the data root lacks it."""
    record = read_record(root, source.slug)
    if source.is_whole and record is not None:
        wanted = list(record)
    wrong = wrong_files(root, wanted, manifest=manifest, record=record or {})
    return Need(wanted, wrong)


def is_needed(source: Source, need: Need, *, root: Path) -> bool:
    """Tell whether a source has to be asked at all."""
    return bool(need.wrong) or (source.is_whole and read_record(root, source.slug) is None)


@dataclass(frozen=True)
class Preparation:
    """What the configuration asks for, and the connections to get it."""

    config: PrepareTask
    client: httpx2.Client

    @property
    def root(self) -> Path:
        """The data root."""
        return Path(self.config.data.root).absolute()

    @property
    def rows(self) -> Path:
        """The test rows' file; where there is none, as of tables of the user's own only, nothing is fetched for it."""
        return Path(self.config.data.jsonl or TEST)

    @property
    def manifest(self) -> Path:
        """The manifest's file."""
        return Path(self.config.data.manifest)

    def fetch_rows(self) -> list[Path]:
        """Fetch the rows' files that are not there; return those that were.

        Raises:
            UserError: One cannot be had.
        """
        data, base = self.config.data, self.config.sources.rows.rstrip("/")
        if data.synthesise or data.jsonl is None:
            return []
        fetched = []
        if fetch_rows(self.client, f"{base}/{TEST}", self.rows, check=lambda file: load_rows(file, split=data.split)):
            fetched.append(self.rows)
        training = self.root / TRAINING
        if data.with_training and fetch_rows(self.client, f"{base}/{TRAINING}", training, check=training_audio):
            fetched.append(training)
        return fetched

    def plan(self) -> Plan:
        """Find out what is missing or damaged, and how to get it; only sources that lack something are asked.

        Raises:
            UserError: A source cannot be asked, or does not have it.
        """
        wanted = self.wanted()
        manifest = self.look(wanted)
        chosen = by_source(wanted, self._sources(), root=self.root, rows=self.rows)
        works: list[Work] = []
        for source in self._sources():
            need = need_of(source, chosen[source.slug], root=self.root, manifest=manifest)
            if is_needed(source, need, root=self.root):
                works.append(source.find(need, manifest))
        works += songeval_works(self.config.model, self.config.sources.songeval)
        works += laion_clap_works(self.config.model, self.config.sources.hub)
        return Plan((*works, *checkpoint_works(self.config.model, self.config.sources.hub)), self.root)

    def wanted(self) -> list[str]:
        """Return the audio that rows name, each file once, relative to the data root.

        Raises:
            UserError: The rows are not right.
        """
        config = self.config
        datasets = chosen_datasets(config)
        if config.data.jsonl is None or not datasets:
            return []
        rows: Iterable[Row] = load_rows(self.rows, split=config.data.split, datasets=datasets, limit=config.limit).rows
        if not config.data.allow_outside:
            rows = rows_inside(rows, self.root, self.rows)
        paths = [path for row in rows for path in row.audio_files]
        if config.data.with_training:
            paths += training_audio(self.root / TRAINING)
        return list(dict.fromkeys(paths))

    def look(self, paths: Sequence[str]) -> Manifest:
        """Bring the manifest up to date for the files that are there, each of which is decoded once."""
        return update_manifest(self.root, self.manifest, paths, decode=True, progress=ItemCount("checking audio"))

    def carry_out(self, plan: Plan) -> None:
        """Do what the plan says, and look at what has come.

        Raises:
            UserError: There is no room, or something cannot be had.
        """
        plan.check_space()
        carry_out(plan, self.client, root=self.root, jobs=self.config.jobs)
        self.look(self.wanted())

    def _sources(self) -> list[Source]:
        config = self.config
        if config.data.synthesise:
            return []
        sources = list(benchmark_sources(config.sources, self.root, self.client))
        return sources + list(training_sources(config.sources, self.root)) if config.data.with_training else sources


def summary(preparation: Preparation) -> str:
    """Return one line about the audio that is there; what of it cannot be decoded is warned about."""
    if preparation.config.data.jsonl is None:
        return "All there: the model's files. Your own songs are where your table says; task=doctor looks at them."
    known = read_manifest(preparation.manifest).records
    records = [known[path] for path in preparation.wanted() if path in known]
    broken = [record.path for record in records if record.error]
    if broken:
        log.warning(
            "Upstream's own, but not to be decoded: %s. `%s` says why.", some_of(broken), command_line("task=doctor")
        )
    size = decimal(sum(record.bytes for record in records))
    hours = sum(record.seconds or 0.0 for record in records) / 3600
    return f"All there: {len(records):,} audio files, {size}, {hours:,.1f} hours, in {preparation.root}"
