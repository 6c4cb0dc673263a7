"""How the package is used, from its checkout or installed, and what follows: its folders, tasks and commands."""

import os
import re
from itertools import takewhile
from pathlib import Path

import cmi_bench
from cmi_bench.errors import UserError

PACKAGE = Path(cmi_bench.__file__).resolve().parent
CONF = "conf"
"""The folder of the configuration groups: in a checkout beside the package, in an installation inside it."""


def is_checkout() -> bool:
    """Whether the package is used from its checkout: `make env`, `pip install -e .`, or PYTHONPATH."""
    return not (PACKAGE / CONF).is_dir()


def conf_folder() -> Path:
    """Return the folder of the configuration groups that come with the package.

    Raises:
        UserError: It is not there.
    """
    folder = (PACKAGE.parent if is_checkout() else PACKAGE) / CONF
    if not (folder / "config.yaml").is_file():
        raise UserError(
            f"The package's configuration is not in {folder}.",
            "Install the package with pip, from a wheel or from the project's folder.",
        )
    return folder


def project_folder() -> Path:
    """Return where data, outputs and the MLflow store are by default: the checkout, or the current folder."""
    return PACKAGE.parent if is_checkout() else Path.cwd()


def cache_folder() -> Path:
    """Return where embeddings and scores are kept by default: in the checkout, or the user's cache."""
    if is_checkout():
        return project_folder() / ".cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cmi-bench"


def install_command(extra: str = "") -> str:
    """Return how what the package needs is installed.

    Args:
        extra: One of the package's extras, such as "gemini"; "" for what it needs itself.
    """
    extras = f"[{extra}]" if extra else ""
    if is_checkout():
        return f"pip install -c constraints.txt -e '.{extras}'" if extra else "make env"
    return f"pip install 'cmi-bench{extras}'"


RUN, BENCHMARK = "run", "benchmark"
"""The command and the task that are meant where none is named."""


def command_of(task: str) -> str:
    """Return what comes after `cmi-bench` for a task.

    >>> command_of("benchmark"), command_of("new_model")
    ('run', 'new-model')
    """
    return RUN if task == BENCHMARK else task.replace("_", "-")


def command_line(*words: str) -> str:
    """Return a command as this user can type it: of `run.py` in a checkout, of `cmi-bench` elsewhere.

    Args:
        words: Hydra's, such as "task=prepare".
    """
    if is_checkout():
        return " ".join(["python run.py", *words])
    task = next((word.removeprefix("task=") for word in words if word.startswith("task=")), BENCHMARK)
    return " ".join(["cmi-bench", command_of(task), *(word for word in words if not word.startswith("task="))])


EXAMPLE_WIDTH = 56
"""Longer commands do not push to the right what the others are for."""


def as_typed(examples: str) -> list[str]:
    """Return examples of commands such as this user can type.

    Args:
        examples: Lines of a command of `run.py` and what it is for, with two blanks or more between them.
    """
    lines = [re.split(r"\s{2,}", line.strip(), maxsplit=1) for line in examples.splitlines() if line.strip()]
    typed = [(command_line(*command.split()[2:]), *meaning) for command, *meaning in lines]
    width = max((len(command) for command, *meaning in typed if meaning and len(command) < EXAMPLE_WIDTH), default=0)
    return [f"{command:<{width}}  {' '.join(meaning)}".rstrip() for command, *meaning in typed]


def tasks() -> dict[str, str]:
    """Return the tasks of the package, each with the first sentence of its file in `conf/task/`."""
    return {file.stem: config_sentence(file) for file in sorted((conf_folder() / "task").glob("*.yaml"))}


def config_sentence(file: Path) -> str:
    """Return the first sentence of the comment at the head of a configuration file."""
    return re.split(r"(?<=\.)\s", config_comment(file), maxsplit=1)[0]


def config_comment(file: Path) -> str:
    """Return the comment at the head of a configuration file, on one line."""
    comment = takewhile(lambda line: line.startswith("#"), file.read_text(encoding="utf-8").splitlines())
    return " ".join(line[1:].strip() for line in comment if not line.startswith("# @package"))
