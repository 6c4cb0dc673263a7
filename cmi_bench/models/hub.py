"""Find a model's files: on disk, or on the Hugging Face hub and in its cache."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (  # type: ignore[attr-defined] # of HTTPError, the client library's own
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    RepositoryNotFoundError,
)

from cmi_bench.errors import UserError

WEIGHTS = "model.safetensors"
CONFIG = "config.yaml"
HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
NO_LOGIN, NO_ACCESS = 401, 403


class CheckpointFiles(NamedTuple):
    """A checkpoint and what describes it."""

    weights: Path
    config: Path


def find_checkpoint(checkpoint: str, config: str | None = None) -> CheckpointFiles:
    """Find a checkpoint's weights and configuration.

    Args:
        checkpoint: A `.safetensors` file, a folder that holds `model.safetensors` and `config.yaml`, or
            a hub id, which is downloaded unless it is in the hub's cache.
        config: The configuration file; None takes the `config.yaml` beside the weights, or in the
            folder above.

    Raises:
        UserError: A file is not there, or the hub cannot or will not give it; the hint says what helps.
    """
    path = Path(checkpoint).expanduser()
    if path.is_file():
        weights = path
    elif path.is_dir():
        weights = _in_folder(path, WEIGHTS)
    elif _may_be_hub_id(checkpoint):
        files = [WEIGHTS] if config else [WEIGHTS, CONFIG]
        weights = download(checkpoint, files, otherwise="give a folder that holds the files") / WEIGHTS
    else:
        raise UserError(f"There is no checkpoint {checkpoint}.", "Give a .safetensors file, its folder, or a hub id.")
    if weights.suffix != ".safetensors":
        raise UserError(f"{weights} is no .safetensors file.", "Other formats are not read: they can run code.")
    return CheckpointFiles(weights, _config_of(weights, config))


def find_folder(name: str, files: Sequence[str], *, named_in: Path) -> Path:
    """Find the folder of a model that another model's configuration names.

    Args:
        name: A path, or a folder beside the one that holds the configuration, or else a hub id.
        files: Names of the files that must be in it.
        named_in: The configuration file.

    Raises:
        UserError: As for `find_checkpoint`.
    """
    for folder in (Path(name).expanduser(), named_in.parent.parent / name):
        if folder.is_dir():
            for file in files:
                _in_folder(folder, file)
            return folder
    if not _may_be_hub_id(name):
        raise UserError(f"{named_in} names {name}, but there is no such folder.", "Mend the name, or put it there.")
    return download(name, files, otherwise=f"put them into a folder {name} beside the one of {named_in}")


def download(repo: str, files: Sequence[str], *, otherwise: str) -> Path:
    """Return the folder in the hub's cache that holds files of a repository, fetching what is not there.

    Args:
        repo: Hub id, such as "HaiwenXia/CMI-RM".
        files: What must be there.
        otherwise: What else the user can do, for the hint.

    Raises:
        UserError: The hub cannot be reached, does not know the repository, or wants a login.
    """
    fetch = f"hf download {repo} {' '.join(files)}"
    try:
        folder = Path(snapshot_download(repo, allow_patterns=list(files)))
    except HFValidationError as error:
        raise UserError(
            f"There is no {repo} here, and the hub knows no such name.", f"Mend it, or {otherwise}."
        ) from error
    except (HTTPError, OSError) as error:
        what, hint = _explain(error, repo, fetch)
        raise UserError(what, f"{hint}; or {otherwise}.") from error
    missing = [file for file in files if not (folder / file).is_file()]
    if missing:
        raise UserError(
            f"{repo}, or its copy in {folder}, has no {' and no '.join(missing)}.",
            f"Where there is a network: {fetch}; or {otherwise}.",
        )
    return folder


def _explain(error: Exception, repo: str, fetch: str) -> tuple[str, str]:
    """Return what is wrong and what helps."""
    # Behind the client's "not in the cache either" is why it looked there.
    cause = error if isinstance(error, HfHubHTTPError) else error.__cause__
    status = cause.response.status_code if isinstance(cause, HfHubHTTPError) else None
    if isinstance(cause, GatedRepoError) or status == NO_ACCESS:
        return (
            f"The hub gives {repo} only to accounts that have been granted access.",
            f"Ask for it at https://huggingface.co/{repo}, then: hf auth login, then: {fetch}",
        )
    if isinstance(cause, RepositoryNotFoundError) or status == NO_LOGIN:
        return (
            f"There is no {repo} here, and none on the hub that this login may see.",
            "Mend the name, or if it is a private repository: hf auth login",
        )
    reason = str(error).partition("\n")[0]
    return (
        f"{repo} is not in the hub's cache and cannot be fetched: {reason}",
        f"Where there is a network: {fetch}",
    )


def _may_be_hub_id(name: str) -> bool:
    return HUB_ID.fullmatch(name) is not None and not name.endswith(".safetensors")


def _in_folder(folder: Path, file: str) -> Path:
    path = folder / file
    if not path.is_file():
        raise UserError(f"The folder {folder} holds no {file}.", "Complete the folder, or give another.")
    return path


def _config_of(weights: Path, config: str | None) -> Path:
    if config is not None:
        path = Path(config).expanduser()
        if not path.is_file():
            raise UserError(f"There is no configuration {config}.", "Give the config.yaml that came with the weights.")
        return path
    for folder in (weights.parent, weights.parent.parent):
        if (folder / CONFIG).is_file():
            return folder / CONFIG
    raise UserError(f"There is no {CONFIG} beside {weights}.", "Put it there, or name it with model.config=...")
