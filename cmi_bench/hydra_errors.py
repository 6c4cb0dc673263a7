"""One message for a mistake in the configuration, with the nearest right name: the place that knows Hydra's prose."""

import errno
import os
import re
import traceback
from typing import Any

from hydra.errors import HydraException
from omegaconf import Container, DictConfig
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from cmi_bench.errors import UserError, did_you_mean
from cmi_bench.task_config import GLOBAL_GROUPS, PLUS_GROUPS, see_help, unknown_setting
from cmi_bench.utils.files import NO_FOLDER, reason_of

SHOW_TRACEBACK = "CMI_BENCH_TRACEBACK"
"""Environment variable that brings the tracebacks back, for those who develop."""

# Hydra says these things in prose only; the patterns are those of Hydra 1.3 and tested against the installed one.
_UNKNOWN_OPTION = re.compile(
    r"Could not find '(?P<group>[^']+)/(?P<name>[^'/]+)'"
    r".*?Available options in[^:]*'?:\n(?P<known>.*?)(?:\nConfig search|\Z)",
    re.DOTALL,
)
_WITHOUT_PLUS = re.compile(rf"Could not override '(?P<group>{'|'.join(PLUS_GROUPS)})'")
_WITH_PLUS = {
    "experiment": "+experiment=smoke, +experiment=paper_table, ...",
    "sweep": "+sweep=checkpoints, +sweep=max_dur, ...",
    "launch": "+launch=joblib or +launch=slurm.",
}
_WITHOUT_HEADER = re.compile(rf"^Key '(?P<group>{'|'.join(GLOBAL_GROUPS)})' not in ", re.MULTILINE)
_NO_SETTING = re.compile(r"Error parsing override '(?P<word>[^'=]*)'\nmissing EQUAL")
_UNKNOWN_KEY = re.compile(r"Could not override '(?P<key>[^']+)'")
_NO_LIST = re.compile(r"override (?P<key>[^=\s]+)=(?P<value>.+)\n.* is not a ListConfig, list or tuple")
_SEVERAL_VALUES = re.compile(r"Ambiguous value for argument '(?P<key>[^=]+)=(?P<values>.*)'\n")
_WRONG_VALUE = re.compile(r"Error merging override (?P<key>[^=\s]+)=(?P<value>.*)\n(?P<why>.+)")
_KINDS = {
    "is not a valid bool": ("neither true nor false", "Write {key}=true or {key}=false."),
    "could not be converted to Integer": ("no whole number", "Write a number without a point: {key}=NUMBER."),
    "could not be converted to Float": ("no number", "Write {key}=NUMBER."),
    "is not Optional": ("no value", "Give it one: {key}=VALUE."),
}
"""How OmegaConf says that a value is not of its key's type, with what it is not and what to write."""
_NO_CHOICE = re.compile(r"Invalid value '.*', expected one of \[(?P<known>.*)\]")
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_FILE_TROUBLE = (
    _FULL
    | NO_FOLDER
    | {errno.EROFS, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EIO}
)
_RENAMED = {"sweep.dir": "sweep.checkpoint_dir"}


def explain(error: BaseException) -> str | None:
    """Return the message for an error of the user's making, None for one that is ours."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, MissingMandatoryValue):
        return str(UserError(f"The value of {error.full_key} is missing.", f"Give it as {error.full_key}=..."))
    if isinstance(error, OSError) and error.errno in _FILE_TROUBLE:
        return str(_file_error(error))
    if isinstance(error, HydraException | OmegaConfBaseException):
        return str(_user_error_within(error) or _configuration_error(error))
    if isinstance(error, ValueError) and _is_hydras(error):
        return str(UserError(f"The settings cannot be read: {error}.", "Write them as KEY=VALUE."))
    return None


def _is_hydras(error: BaseException) -> bool:
    """Whether Hydra itself raised an error, such as for `=3` or an integer of 5000 digits."""
    frames = list(traceback.walk_tb(error.__traceback__))
    return bool(frames) and str(frames[-1][0].f_globals.get("__name__", "")).startswith("hydra.")


def _file_error(error: OSError) -> UserError:
    """Return what to say where a file or a folder is not such that it can be read or written."""
    place = error.filename if error.filename is not None else "A file"
    if error.errno in _FULL:
        again = "Make room and run the same command again, with hydra.run.dir=FOLDER: what was scored is kept."
        return UserError(f"{place} cannot be written: {error.strerror}.", again)
    hint = "Name another file or folder, or change its permissions; a run's folder is hydra.run.dir=FOLDER."
    return UserError(f"{place} cannot be used: {reason_of(error)}.", hint)


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
    if found := _WITHOUT_HEADER.search(f"{text}\n{cause}"):
        where = "Let its file begin with the line `# @package _global_`."
        return UserError(f"What {found['group']}=... sets is under {found['group']!r}, where nothing reads it.", where)
    if found := _NO_SETTING.search(text):
        return UserError(f"{found['word']!r} is no setting.", "Write KEY=VALUE, such as data=mini or runs=[A,B].")
    if found := _UNKNOWN_KEY.search(text):
        return _unknown_key(found["key"], cause.parent_node if isinstance(cause, OmegaConfBaseException) else None)
    if found := _SEVERAL_VALUES.match(text):
        key, values = found["key"], found["values"]
        what = f"{key}={values} gives several values to one setting."
        return UserError(what, f"Write {key}=[{values}] for a list, or -m before all words for a sweep over them.")
    if (found := _NO_LIST.search(f"{text}\n{cause}")) is not None:
        key, value = found["key"], found["value"]
        return UserError(f"{key} is a list, and {value} is none.", f"Write {key}=[{value}]")
    if (found := _WRONG_VALUE.match(f"{text}\n{cause}")) and (wrong := _wrong_value(**found.groupdict())):
        return wrong
    if isinstance(cause, OmegaConfBaseException):
        return UserError(f"{text}: {str(cause).splitlines()[0]}", see_help())
    return UserError(text.splitlines()[0] if isinstance(error, OmegaConfBaseException) else text, see_help())


def _wrong_value(key: str, value: str, why: str) -> UserError | None:
    """Return what to say of a value that is not of its key's type; None for a type that has no words here.

    Args:
        key: With its dots.
        value: As it was written.
        why: OmegaConf's words.
    """
    if found := _NO_CHOICE.search(why):
        return UserError(f"There is no {key}={value}.", did_you_mean(value, found["known"].split(", ")))
    for words, (is_not, hint) in _KINDS.items():
        if words in why:
            return UserError(f"{key}={value} is {is_not}.", hint.format(key=key))
    return None


def _unknown_key(key: str, parent: object) -> UserError:
    """Return what to say of a key that is not there.

    Args:
        key: With its dots.
        parent: The node that lacks a part of it; None where Hydra looked for a group.
    """
    if key in _RENAMED:
        return UserError(f"{key} is now called {_RENAMED[key]}.", f"Write {_RENAMED[key]}=...")
    if isinstance(parent, DictConfig) and parent._metadata.element_type not in (Any, None):
        return UserError(f"{key} has no value yet.", f"Set it with a plus: +{key}=...")
    known = [str(name) for name in parent] if isinstance(parent, Container) else []
    task = parent.task if isinstance(parent, DictConfig) and "task" in parent else None
    return unknown_setting(key, known, task=task)
