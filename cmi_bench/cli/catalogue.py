"""`cmi-bench score --requests TABLE --out FOLDER`: a catalogue of any number of songs, scored into Parquet files."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cmi_bench.errors import UserError
from cmi_bench.utils.console import spinner

if TYPE_CHECKING:
    from cmi_bench.catalogue.parts import Engine
    from cmi_bench.catalogue.run import CatalogueProgress
    from cmi_bench.cli.score import Form, ModelOptions
    from cmi_bench.config import Config


@dataclass(frozen=True)
class CatalogueOptions:
    """Where scores go, and which part of the work this process does."""

    out: str
    """A folder or an fsspec address."""
    retry_failed: bool = False
    shard: str | None = None
    part_size: int | None = None


def score_catalogue(requests: str | None, options: CatalogueOptions, model: "ModelOptions", form: "Form") -> int:
    """Score a catalogue, and return the exit code.

    Raises:
        UserError: An option, the requests, the model or the folder is not right.
    """
    from cmi_bench.cli.score import NOTHING_SCORED, SOME_FAILED, Form, model_config

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
    config = model_config(model)
    if not config.resume:
        raise UserError("--set resume=false has no effect with --out.", "Choose another --out, or --no-cache.")
    with spinner("reading the requests"):
        stream = open_requests(requests)
    progress = CatalogueProgress()
    found = run(
        stream,
        out,
        _engine(config, model.device, progress),
        size=options.part_size or PART_SIZE,
        shard=shard,
        retry_failed=options.retry_failed,
        progress=progress,
    )
    if not found.failed:
        return 0
    return SOME_FAILED if found.failed < found.requests else NOTHING_SCORED


def _engine(config: "Config", device: str, progress: "CatalogueProgress") -> "Engine":
    from cmi_bench.catalogue.local import LocalEngine

    return LocalEngine(config, device, heard=progress.heard)
