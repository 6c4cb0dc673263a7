"""Hydra's callback for sweeps: a plan before the first job, a table after the last.

The jobs themselves are in `jobs.run_job`, which catches what a job raises: Hydra's sweeper ends a sweep at the first
job that failed, after its batch. Callbacks have limits as well (Hydra 1.3, `hydra/_internal/callbacks.py`): what one
raises becomes a warning, so that errors leave as `SystemExit`; and `on_multirun_end` is not called when the user or the
launcher stops the sweep, so that `completed_sweep` stands around the command.
"""

import contextlib
import logging
import traceback
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from cmi_bench.errors import UserError
from cmi_bench.hydra_errors import explain
from cmi_bench.hydra_setup import refuse_unknown_local
from cmi_bench.utils.distributed import is_rank_zero

if TYPE_CHECKING:
    from cmi_bench.sweeps.sweep import Sweep

log = logging.getLogger(__name__)


class SweepCallback(Callback):
    """Records a sweep; `hydra.callbacks` in conf/config.yaml names it."""

    running: ClassVar["Sweep | None"] = None
    """The sweep of this process. No attribute of the object, which launchers pickle."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Find the sweep's jobs, compose each of them, and write the plan."""
        if is_rank_zero():
            log.info("Planning the sweep")
        # Hydra makes its callbacks at each start of run.py: what sweeps need is not for the others to import.
        from cmi_bench.sweeps.checkpoints import register_sweep_resolvers
        from cmi_bench.sweeps.sweep import list_values, start_sweep

        register_sweep_resolvers()
        with _errors_exit():
            refuse_unknown_local(config.hydra.runtime.choices)
            if is_rank_zero():
                SweepCallback.running = start_sweep(config)
            else:
                list_values(config)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Write the sweep's table; exit with 1 if a job did not finish."""
        if SweepCallback.running is not None:
            with _errors_exit():
                _finish("FINISHED").require_finished()


@contextlib.contextmanager
def completed_sweep() -> Iterator[None]:
    """Complete a sweep that is stopped inside, by hand or by its launcher, as far as it has come.

    Raises:
        UserError: The launcher failed; says how to go on.
    """
    try:
        yield
    except BaseException as error:
        if SweepCallback.running is not None:
            sweep = _finish("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
            if isinstance(error, Exception) and explain(error) is None:
                reason = (str(error).splitlines() or [""])[0]
                what = f"The sweep broke off ({type(error).__name__}: {reason})"
                raise UserError(what, sweep.how_to_go_on) from error
        raise


def _finish(status: str) -> "Sweep":
    sweep, SweepCallback.running = SweepCallback.running, None
    assert sweep is not None
    sweep.finish(status)
    return sweep


@contextlib.contextmanager
def _errors_exit() -> Iterator[None]:
    """Turn an error into a message and exit code 1."""
    try:
        yield
    except Exception as error:
        raise SystemExit(explain(error) or traceback.format_exc()) from error
