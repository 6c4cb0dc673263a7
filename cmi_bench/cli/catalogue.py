"""`cmi-bench score --requests TABLE --out FOLDER`: a catalogue of any number of songs, scored into Parquet files."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from cmi_bench.errors import UserError

if TYPE_CHECKING:
    from cmi_bench.catalogue.parts import Engine
    from cmi_bench.catalogue.run import CatalogueProgress
    from cmi_bench.cli.options import Form, ModelOptions
    from cmi_bench.config import Config


class EngineName(StrEnum):
    """What scores a catalogue."""

    LOCAL = "local"
    RAY = "ray"


@dataclass(frozen=True)
class CatalogueOptions:
    """Where scores go, and which part of the work this process does."""

    out: str
    """A folder or an fsspec address."""
    retry_failed: bool = False
    shard: str | None = None
    part_size: int | None = None
    engine: EngineName = EngineName.LOCAL
    address: str | None = None
    """Of the cluster."""
    workers: int | None = None
    """How many processes of the cluster hold the model."""

    def __post_init__(self) -> None:
        if self.engine is EngineName.LOCAL:
            for option, given in (("--address", self.address), ("--workers", self.workers)):
                if given is not None:
                    raise UserError(f"{option} is of a cluster.", "Use --engine ray, or leave it out.")


def score_catalogue(requests: str | None, options: CatalogueOptions, model: "ModelOptions", form: "Form") -> int:
    """Score a catalogue, and return the exit code.

    Raises:
        UserError: An option, the requests, the model or the folder is not right.
    """
    from cmi_bench.cli.options import Form, ModelOptions
    from cmi_bench.cli.score import NOTHING_SCORED, SOME_FAILED, model_config
    from cmi_bench.utils.console import spinner

    if requests is None:
        raise UserError("--out goes with --requests.", "Give a table or a folder of songs: --requests songs.parquet.")
    if form is not Form.TABLE:
        raise UserError(f"--{form} has no effect with --out.", "The scores are Parquet files; nothing is printed.")
    from cmi_bench.catalogue.output import ScoreFolder
    from cmi_bench.catalogue.parts import PART_SIZE, WHOLE, parse_shard
    from cmi_bench.catalogue.requests import open_requests
    from cmi_bench.catalogue.run import CatalogueProgress
    from cmi_bench.catalogue.run import score_catalogue as run

    shard = WHOLE if options.shard is None else parse_shard(options.shard)
    out = ScoreFolder(options.out)
    # The devices of a cluster are not those of this machine.
    on_cluster = options.engine is EngineName.RAY
    config = model_config(replace(model, device=ModelOptions.device) if on_cluster else model)
    if not config.resume:
        raise UserError("--set resume=false has no effect with --out.", "Choose another --out, or --no-cache.")
    with spinner("reading the requests"):
        stream = open_requests(requests)
    progress = CatalogueProgress()
    with _engine(options, config, model.device, progress) as engine:
        found = run(
            stream,
            out,
            engine,
            size=options.part_size or PART_SIZE,
            shard=shard,
            retry_failed=options.retry_failed,
            progress=progress,
        )
    if not found.failed:
        return 0
    return SOME_FAILED if found.failed < found.requests else NOTHING_SCORED


@contextlib.contextmanager
def _engine(
    options: CatalogueOptions, config: "Config", device: str, progress: "CatalogueProgress"
) -> Iterator["Engine"]:
    if options.engine is EngineName.LOCAL:
        from cmi_bench.catalogue.local import LocalEngine

        yield LocalEngine(config, device, heard=progress.heard)
        return
    from cmi_bench.utils.command import loading

    with loading("torch and ray"):
        from cmi_bench.catalogue.ray_engine import RayEngine

        engine = RayEngine(config, device, address=options.address or "auto", workers=options.workers)
    with engine:
        yield engine
