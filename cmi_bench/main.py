"""From the words of a command line to a finished task, with messages instead of tracebacks."""

import sys
from collections.abc import Sequence
from pathlib import Path

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import get_method
from omegaconf import DictConfig

from cmi_bench.hydra_setup import model_word, refuse_unknown_local, register
from cmi_bench.sweeps.callback import completed_sweep
from cmi_bench.task_config import checked
from cmi_bench.tasks.preflight import preflight
from cmi_bench.utils.command import explain_errors, loading, prepare_process
from cmi_bench.utils.installation import conf_folder


def run(words: Sequence[str]) -> None:
    """Do what the words of a command line say; `run.py` and the commands of `cmi-bench` for the benchmark are this.

    Args:
        words: Overrides and flags of Hydra, in any order.

    Raises:
        SystemExit: A mistake (1), flags that Hydra does not know (2), or Ctrl-C (130); each with its message.
    """
    typed = sys.argv

    def task(cfg: DictConfig) -> None:
        # Lightning starts the other processes of a run by the command that was typed.
        sys.argv = typed
        run_task(cfg)

    prepare_process()
    # Hydra copies its store whenever it looks for a configuration, a hundred times for --help, and changes no copy.
    ConfigStore.__deepcopy__ = lambda store, memo: store  # type: ignore[attr-defined]
    try:
        with explain_errors(), completed_sweep():
            register()
            sys.argv = [typed[0], *_flags_first([*words, *model_word(words)])]
            hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name="config")(task)()
    finally:
        sys.argv = typed


def _flags_first(words: Sequence[str]) -> list[str]:
    """Return the words in an order that Hydra's parser takes: it wants all overrides side by side."""
    overrides = [word for word in words if word.startswith("~") or ("=" in word and not word.startswith("-"))]
    return [*(word for word in words if word not in overrides), *overrides]


def run_task(cfg: DictConfig) -> None:
    """Run the task that the configuration names; its outputs go to Hydra's run folder.

    In a single run a user's mistake ends the process here; in a sweep it is printed, and the other jobs go on.
    """
    folder = Path(HydraConfig.get().runtime.output_dir)
    if HydraConfig.get().mode == RunMode.RUN:
        with explain_errors():
            refuse_unknown_local(HydraConfig.get().runtime.choices)
            call_task(cfg, folder)
    else:
        from cmi_bench.sweeps.jobs import run_job  # with the tables of sweeps, which a single run has no need of

        run_job(cfg, folder, call_task)


def call_task(cfg: DictConfig, folder: Path) -> None:
    """Call the task's function with the checked configuration.

    Raises:
        UserError: A value is not right, which is found before torch is imported, or whatever the task raises.
    """
    config = checked(cfg)
    preflight(config)
    with loading("libraries"):
        task = get_method(config.task_function)
    task(config, folder)
