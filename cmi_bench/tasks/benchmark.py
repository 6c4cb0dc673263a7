"""`task=benchmark`: score the rows with the model, evaluate, report, record.

What can be wrong with rows and audio is found before torch and Lightning are imported, which takes seconds.
"""

import logging
import time
from dataclasses import replace
from pathlib import Path

from cmi_bench.config import Config, OnError
from cmi_bench.data.datasets import dataset_by_slug
from cmi_bench.data.rows import (
    RowSet,
    check_inside,
    describe_missing,
    load_rows,
    missing_audio,
    with_original_names,
)
from cmi_bench.data.synthetic.build import ensure_mini
from cmi_bench.errors import UserError
from cmi_bench.utils.console import spinner
from cmi_bench.utils.distributed import is_rank_zero
from cmi_bench.utils.installation import command_line

log = logging.getLogger(__name__)


def load_run_rows(config: Config) -> RowSet:
    """Load the rows that `data`, `subset` and `limit` choose; synthesise the mini benchmark if need be.

    Raises:
        UserError: The rows or their labels are not right, or audio is missing and `on_error=fail`.
    """
    root = Path(config.data.root)
    if config.data.synthesise:
        ensure_mini(root)
    jsonl = Path(config.data.jsonl)
    datasets = [dataset_by_slug(slug) for slug in config.subset.datasets]
    chosen = load_rows(jsonl, split=config.data.split, datasets=datasets, limit=config.limit)
    if is_rank_zero():
        for source, count in chosen.unknown_sources.items():
            log.warning("Left out %d rows of unknown source %r.", count, source)
    if not config.data.allow_outside:
        check_inside(chosen.rows, root, jsonl)
    _check_audio(chosen, root, config.on_error)
    return replace(chosen, rows=with_original_names(chosen.rows, root))


def _check_audio(chosen: RowSet, root: Path, on_error: OnError) -> None:
    missing = missing_audio(chosen.rows, root)
    if not missing:
        return
    if on_error is OnError.fail:
        raise UserError(
            describe_missing(missing, root),
            f"Get them with {command_line('task=prepare')}, set data.root if they are elsewhere, or go on without:"
            " on_error=record.",
        )
    if is_rank_zero():
        log.warning("%s Their clips are recorded as failed.", describe_missing(missing, root))


def run_benchmark(config: Config, folder: Path) -> None:
    """Run the benchmark; every output goes to `folder`.

    Raises:
        UserError: Rows, audio, model or device are not right; nothing already scored is lost.
    """
    started = time.monotonic()
    chosen = load_run_rows(config)
    with spinner("loading torch and Lightning"):
        from cmi_bench.tasks.scoring import command_host, score_rows

    score_rows(chosen, config, folder, command_host(config), started=started)
