"""How the package is used, from its checkout or installed, and what follows: its folders, and the commands to name."""

import os
import re
from collections.abc import Iterable
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
            "Install the package with pip, such as pip install -e . in the project's folder (or make env there).",
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


RUN, BENCHMARK = "run", "benchmark"
"""The command of the task that is meant where none is named."""


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


def in_words_typed(text: str) -> str:
    """Return a text in which the commands of `run.py` are such as this user can type.

    >>> in_words_typed("python run.py -m max_dur=30,60 # in a checkout")
    'python run.py -m max_dur=30,60 # in a checkout'
    """
    return re.sub(r"python run\.py(?P<words>(?: \S+)*)", lambda found: command_line(*found["words"].split()), text)


def tasks() -> dict[str, str]:
    """Return the tasks of the package, each with the first sentence of its file in `conf/task/`."""
    return {file.stem: config_sentence(file) for file in sorted((conf_folder() / "task").glob("*.yaml"))}


def config_sentence(file: Path) -> str:
    """Return the first sentence of the comment at the head of a configuration file."""
    return re.split(r"(?<=\.)\s", _head(file.read_text(encoding="utf-8").splitlines()), maxsplit=1)[0]


def _head(lines: Iterable[str]) -> str:
    comment = takewhile(lambda line: line.startswith("#"), lines)
    return " ".join(line[1:].strip() for line in comment if not line.startswith("# @package"))
