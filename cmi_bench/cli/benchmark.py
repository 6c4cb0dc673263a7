"""The commands of the benchmark: one for each task, with the words of `run.py`."""

from collections.abc import Sequence
from typing import Any

import typer

from cmi_bench.errors import UserError
from cmi_bench.utils.command import explain_errors
from cmi_bench.utils.installation import BENCHMARK, command_of, tasks

PANEL = "Benchmark (words as key=value; `cmi-bench run --help` shows them)"
AS_THEY_ARE: dict[str, Any] = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
"""Settings of a command whose words, flags among them, are Hydra's."""


def add_benchmark_commands(app: typer.Typer) -> None:
    """Add a command for each file in `conf/task/`: `run` for the benchmark itself, the others by their names."""
    descriptions = tasks()
    for task in sorted(descriptions, key=lambda name: (name != BENCHMARK, name)):
        app.command(
            command_of(task),
            help=descriptions[task],
            rich_help_panel=PANEL,
            context_settings=AS_THEY_ARE,
            add_help_option=False,
            options_metavar="[KEY=VALUE]...",
        )(_command(task))


def _command(task: str) -> Any:
    def command(context: typer.Context) -> None:
        with explain_errors():
            words = context.args if task == BENCHMARK else [*_without_task(context.args, task), f"task={task}"]
        from cmi_bench.main import run

        run(words)

    return command


def _without_task(words: Sequence[str], task: str) -> list[str]:
    """Return the words without a `task=` that says what the command's name says.

    Raises:
        UserError: They name another task.
    """
    named = [word for word in words if word.startswith("task=")]
    if other := next((word for word in named if word != f"task={task}"), None):
        command = f"cmi-bench {command_of(task)}"
        raise UserError(f"{command} is task={task}; {other} is another one.", f"Leave out {other}.")
    return [word for word in words if word not in named]
