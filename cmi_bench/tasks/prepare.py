"""`task=prepare` and `task=doctor`: get what a run with the same other words needs, or tell what it lacks.

Neither loads torch before it has to.
"""

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig

from cmi_bench.data.synthetic.build import ensure_mini
from cmi_bench.errors import UserError
from cmi_bench.task_config import DoctorFormat, DoctorTask, PrepareTask
from cmi_bench.utils.console import print_view
from cmi_bench.utils.waiting import locked

if TYPE_CHECKING:
    from cmi_bench.download.prepare import Preparation


log = logging.getLogger(__name__)


ROUNDS = 3
"""Once for what is seen to be missing, again for what that turns out to need."""
LOCK_SECONDS = 600.0
"""How long to wait for another process that prepares the same folder."""
WIDTH_OF_A_PLAN = 140


def run_prepare(config: PrepareTask, folder: Path) -> None:
    """Prepare rows, audio and checkpoint as `data`, `subset`, `limit` and `model` choose them.

    Raises:
        UserError: Something cannot be had; the same command goes on from there.
    """
    # Read by the hub's client when it is imported, which is why it is imported here.
    os.environ["HF_ENDPOINT"] = config.sources.hub
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"  # what takes time has a bar of ours
    from cmi_bench.download.http import open_client
    from cmi_bench.download.prepare import Preparation, summary

    root = Path(config.data.root).absolute()
    if config.data.synthesise:
        ensure_mini(root)
    fetches_rows = not config.data.synthesise and config.data.jsonl is not None
    with _alone(root) if fetches_rows else contextlib.nullcontext(), open_client(config.jobs) as client:
        preparation = Preparation(config, client)
        for file in preparation.fetch_rows():
            log.info("Fetched %s.", file)
        _fetch_what_is_missing(preparation)
        print_view(summary(preparation))


def _fetch_what_is_missing(preparation: "Preparation") -> None:
    for _ in range(ROUNDS):
        plan = preparation.plan()
        if not plan.works:
            return
        print_view(plan.table(), width=WIDTH_OF_A_PLAN)
        print_view(plan.total())
        preparation.carry_out(plan)
    names = ", ".join(work.name for work in preparation.plan().works)
    raise UserError(f"{names} cannot be made right: what comes is not what was promised.", "It was changed upstream.")


@contextlib.contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Let two that prepare the same folder do it one after the other."""
    from cmi_bench.download.state import FOLDER

    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(root / FOLDER / "lock", seconds=LOCK_SECONDS, what=f"prepares {root}"))
        except OSError as error:  # a folder that can only be read may have everything all the same
            log.debug("No lock in %s: %s", root, error)
        yield


PROBLEMS = 1
"""Exit code where there is a problem."""
WIDTH_OF_A_LOG = 160


def run_doctor(config: DoctorTask, folder: Path) -> None:
    """Print the findings on stdout: a table, or JSON with `doctor.format=json`.

    Raises:
        SystemExit: With code 1, if there is a problem.
    """
    # The doctor looks at what is on this machine; the hub's client reads this when it is imported.
    os.environ["HF_HUB_OFFLINE"] = "1"
    from cmi_bench.doctor import examine
    from cmi_bench.doctor.finding import Severity, as_json, as_table, verdict_of, worst

    findings = examine(config, folder, HydraConfig.get().overrides.task)
    if config.doctor.format is DoctorFormat.json:
        print_view(as_json(findings))
    else:
        print_view(as_table(findings), width=WIDTH_OF_A_LOG)
        print_view(verdict_of(findings))
    if worst(findings) is Severity.PROBLEM:
        raise SystemExit(PROBLEMS)
