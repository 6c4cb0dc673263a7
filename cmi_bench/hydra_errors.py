"""Say in one message what a user did wrong, with the nearest right name."""

import re

from hydra.errors import HydraException
from omegaconf import Container
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from cmi_bench.errors import UserError, did_you_mean

SEE_HELP = "`python run.py --help` shows groups, keys and examples."

# Hydra says these things in prose only; the patterns are those of Hydra 1.3 and tested against the installed one.
_UNKNOWN_OPTION = re.compile(
    r"Could not find '(?P<group>[^']+)/(?P<name>[^'/]+)'"
    r".*?Available options in[^:]*'?:\n(?P<known>.*?)(?:\nConfig search|\Z)",
    re.DOTALL,
)
_WITHOUT_PLUS = re.compile(r"Could not override '(?P<group>device|sweep|launch)'")
_WITH_PLUS = {
    "device": "+device=cpu, +device=cuda, +device=cuda:0, ...",
    "sweep": "+sweep=checkpoints, +sweep=max_dur, ...",
    "launch": "+launch=joblib or +launch=slurm.",
}
_UNKNOWN_KEY = re.compile(r"Could not override '(?P<key>[^']+)'")


def explain(error: BaseException) -> str | None:
    """Return the message for an error of the user's making, None for one that is ours."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, MissingMandatoryValue):
        return str(UserError(f"The value of {error.full_key} is missing.", f"Give it as {error.full_key}=..."))
    if isinstance(error, HydraException | OmegaConfBaseException):
        if (found := _said_within(error)) is not None:
            return str(found)
        return str(_configuration_error(error))
    return None


def _said_within(error: BaseException) -> UserError | None:
    """Return what one of our resolvers said: Hydra and OmegaConf wrap it in errors of their own."""
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
    if (found := _UNKNOWN_KEY.search(text)) and isinstance(cause, OmegaConfBaseException):
        return UserError(f"There is no setting {found['key']!r}.", _nearest_keys(found["key"], cause))
    if isinstance(cause, OmegaConfBaseException):
        return UserError(f"{text}: {str(cause).splitlines()[0]}", SEE_HELP)
    return UserError(text.splitlines()[0] if isinstance(error, OmegaConfBaseException) else text, SEE_HELP)


def _nearest_keys(key: str, cause: OmegaConfBaseException) -> str:
    parent = cause.parent_node
    known = [str(name) for name in parent] if isinstance(parent, Container) else []
    return did_you_mean(key.rpartition(".")[2], known) if known else SEE_HELP
