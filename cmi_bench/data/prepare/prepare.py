"""`task=prepare`, from the rows' files to the last checksum."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from cmi_bench.config import SourcesConfig
from cmi_bench.data.datasets import Dataset
from cmi_bench.data.manifest import Manifest, update_manifest
from cmi_bench.data.prepare.carry_out import carry_out
from cmi_bench.data.prepare.checkpoint import checkpoint_works
from cmi_bench.data.prepare.needs import by_source, is_needed, need_of
from cmi_bench.data.prepare.plan import Plan
from cmi_bench.data.prepare.rows_files import TEST, TRAINING, fetch_rows, training_audio
from cmi_bench.data.prepare.songeval import songeval_works
from cmi_bench.data.prepare.sources import benchmark_sources, training_sources
from cmi_bench.data.prepare.work import Source, Work
from cmi_bench.data.progress import FileCount
from cmi_bench.data.rows import load_rows

log = logging.getLogger(__name__)


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
