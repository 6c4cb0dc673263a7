"""One message for a mistake in the configuration, with the nearest right name: the place that knows Hydra's prose."""

import os
import re
import traceback

from hydra.errors import HydraException
from omegaconf import Container, DictConfig
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from cmi_bench.config import tasks_with_key
from cmi_bench.errors import UserError, did_you_mean

SHOW_TRACEBACK = "CMI_BENCH_TRACEBACK"
"""Environment variable that brings the tracebacks back, for those who develop."""
SEE_HELP = "`python run.py --help` shows groups, keys and examples."

# Hydra says these things in prose only; the patterns are those of Hydra 1.3 and tested against the installed one.
_UNKNOWN_OPTION = re.compile(
    r"Could not find '(?P<group>[^']+)/(?P<name>[^'/]+)'"
    r".*?Available options in[^:]*'?:\n(?P<known>.*?)(?:\nConfig search|\Z)",
    re.DOTALL,
)
_WITHOUT_PLUS = re.compile(r"Could not override '(?P<group>sweep|launch)'")
_WITH_PLUS = {
    "sweep": "+sweep=checkpoints, +sweep=max_dur, ...",
    "launch": "+launch=joblib or +launch=slurm.",
}
_UNKNOWN_KEY = re.compile(r"Could not override '(?P<key>[^']+)'")
_RENAMED = {"sweep.dir": "sweep.checkpoint_dir"}


def explain(error: BaseException) -> str | None:
    """Return the message for an error of the user's making, None for one that is ours."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, MissingMandatoryValue):
        return str(UserError(f"The value of {error.full_key} is missing.", f"Give it as {error.full_key}=..."))
    if isinstance(error, HydraException | OmegaConfBaseException):
        return str(_user_error_within(error) or _configuration_error(error))
    return None


def error_message(error: BaseException) -> str:
    """Return the message for any error: `explain`, or the traceback."""
    message = explain(error)
    if message is None or os.environ.get(SHOW_TRACEBACK):
        return "".join(traceback.format_exception(error))
    return message


def _user_error_within(error: BaseException) -> UserError | None:
    """Return the error that one of our resolvers raised: Hydra and OmegaConf wrap it in errors of their own."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, UserError):
        cause = cause.__cause__ or cause.__context__  # OmegaConf clears the first
    return cause


def _configuration_error(error: Exception) -> UserError:
    text = str(error).strip()
    cause = error.__cause__
    if found := _UNKNOWN_OPTION.search(text):
        known = [name for name in found["known"].split() if name != "Config"]
        return UserError(f"There is no {found['group']}={found['name']}.", did_you_mean(found["name"], known))
    if found := _WITHOUT_PLUS.search(text):
        return UserError(f"`{found['group']}` is chosen with a plus.", f"Write {_WITH_PLUS[found['group']]}")
    if found := _UNKNOWN_KEY.search(text):
        return _unknown_key(found["key"], cause.parent_node if isinstance(cause, OmegaConfBaseException) else None)
    if isinstance(cause, OmegaConfBaseException):
        return UserError(f"{text}: {str(cause).splitlines()[0]}", SEE_HELP)
    return UserError(text.splitlines()[0] if isinstance(error, OmegaConfBaseException) else text, SEE_HELP)


def _unknown_key(key: str, parent: object) -> UserError:
    """Return what to say of a key that is not there.

    Args:
        key: With its dots.
        parent: The node that lacks a part of it; None where Hydra looked for a group.
    """
    root = key.partition(".")[0]
    if key in _RENAMED:
        return UserError(f"{key} is now called {_RENAMED[key]}.", f"Write {_RENAMED[key]}=...")
    tasks = tasks_with_key(root)
    if tasks and (parent is None or (isinstance(parent, DictConfig) and root not in parent)):
        named = " and ".join(f"task={task}" for task in tasks)
        own = f", not of task={parent.task}" if isinstance(parent, DictConfig) and "task" in parent else ""
        return UserError(f"{root!r} is a key of {named}{own}.", f"Add task={tasks[0]}.")
    known = [str(name) for name in parent] if isinstance(parent, Container) else []
    hint = did_you_mean(key.rpartition(".")[2], known) if known else SEE_HELP
    return UserError(f"There is no setting {key!r}.", hint)
