"""The rows of a run, with everything checked that can be checked before a model is loaded."""

import logging
from pathlib import Path

from cmi_bench.config import Config, OnError
from cmi_bench.data.datasets import dataset_by_slug
from cmi_bench.data.mini import ensure_mini
from cmi_bench.data.presence import describe_missing, missing_audio
from cmi_bench.data.rows import RowSet, load_rows
from cmi_bench.errors import UserError
from cmi_bench.ranks import is_rank_zero

log = logging.getLogger(__name__)

PREPARE = "python run.py task=prepare"


def load_run_rows(config: Config) -> RowSet:
    """Load the rows that `data`, `subset` and `limit` choose; synthesise the mini benchmark if need be.

    Raises:
        UserError: The rows or their labels are not right, or audio is missing and `on_error=fail`.
    """
    root = Path(config.data.root)
    if config.data.synthesise:
        ensure_mini(root)
    jsonl = Path(config.data.jsonl)
    if not jsonl.exists():
        raise UserError(f"{jsonl} does not exist.", f"Get the data with {PREPARE}, or name your own: data.jsonl=FILE.")
    datasets = [dataset_by_slug(slug) for slug in config.subset.datasets]
    chosen = load_rows(jsonl, split=config.data.split, datasets=datasets, limit=config.limit)
    if is_rank_zero():
        for source, count in chosen.unknown_sources.items():
            log.warning("Left out %d rows of unknown source %r.", count, source)
    _check_audio(chosen, root, config.on_error)
    return chosen


def _check_audio(chosen: RowSet, root: Path, on_error: OnError) -> None:
    missing = missing_audio(chosen.rows, root)
    if not missing:
        return
    if on_error is OnError.fail:
        raise UserError(
            describe_missing(missing, root),
            f"Get them with {PREPARE}, set data.root if they are elsewhere, or go on without: on_error=record.",
        )
    if is_rank_zero():
        log.warning("%s Their clips are recorded as failed.", describe_missing(missing, root))
