"""`task=benchmark`: score the rows with the model, evaluate, report, record.

What can be wrong with rows and audio is found before torch and Lightning are imported, which takes seconds.
"""

import logging
import time
from collections.abc import Sequence
from pathlib import Path

from cmi_bench.config import Config, OnError
from cmi_bench.data.chosen import ChosenRows, chosen_datasets, load_chosen
from cmi_bench.data.rows import Row, describe_missing, missing_audio
from cmi_bench.data.synthetic.build import ensure_mini
from cmi_bench.errors import UserError
from cmi_bench.utils.command import loading
from cmi_bench.utils.distributed import is_rank_zero
from cmi_bench.utils.installation import command_line

log = logging.getLogger(__name__)


def load_run_rows(config: Config) -> ChosenRows:
    """Load the rows that `data`, `subset` and `limit` choose; synthesise the mini benchmark if need be.

    Raises:
        UserError: The rows or their labels are not right, or audio is missing and `on_error=fail`.
    """
    root = Path(config.data.root)
    if config.data.synthesise and chosen_datasets(config):
        ensure_mini(root)
    chosen = load_chosen(config)
    if is_rank_zero():
        for source, count in chosen.rows.unknown_sources.items():
            log.warning("Left out %d rows of unknown source %r.", count, source)
    check_audio(chosen.rows.rows, root, config)
    return chosen


def check_audio(rows: Sequence[Row], root: Path, config: Config) -> None:
    """Make sure that the audio of rows is there, or warn where `on_error=record`.

    Raises:
        UserError: Files are missing and `on_error=fail`.
    """
    missing = missing_audio(rows, root)
    if not missing:
        return
    if config.on_error is OnError.fail:
        prepare = command_line("task=prepare")
        get = f"Get them with {prepare}, set data.root if they are elsewhere," if config.data.jsonl else (
            "Set data.root to the folder that the table's paths are relative to,")  # fmt: skip
        raise UserError(describe_missing(missing, root), f"{get} or go on without: on_error=record.")
    if is_rank_zero():
        log.warning("%s Their clips are recorded as failed.", describe_missing(missing, root))


def run_benchmark(config: Config, folder: Path) -> None:
    """Run the benchmark; every output goes to `folder`.

    Raises:
        UserError: Rows, audio, model or device are not right; nothing already scored is lost.
    """
    started = time.monotonic()
    chosen = load_run_rows(config)
    with loading("torch and Lightning"):
        from cmi_bench.tasks.scoring import command_host, score_rows

    score_rows(chosen, config, folder, command_host(config), started=started)
