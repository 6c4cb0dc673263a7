"""Find a model's files on disk, on the Hugging Face hub or in its cache.

A model on the hub is named "owner/name", or "owner/name@revision".
"""

import socket
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit
from urllib.request import getproxies

from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import (  # type: ignore[attr-defined] # of HTTPError, the client library's own
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import repo_folder_name

from cmi_bench.errors import NotFetchedError, UserError, did_you_mean
from cmi_bench.models.checkpoint_names import CONFIG, WEIGHTS_SUFFIXES, parse_hub_name, split_hub_name

WEIGHTS = "model.safetensors"
EITHER_WEIGHTS = (WEIGHTS, "pytorch_model.bin")
"""The names that weights on the hub have: MuQ-MuLan and some CLAPs were released under the second only."""
ENCODER_CONFIG, PREPROCESSOR, TOKENIZER = "config.json", "preprocessor_config.json", "tokenizer.json"
"""As the `transformers` library names them."""
LAION_CLAP_FOLDER = "LAION-CLAP"
"""A folder of this name is where `task=prepare` puts LAION's CLAP."""
NO_LOGIN, NO_ACCESS = 401, 403


class CheckpointFiles(NamedTuple):
    """A checkpoint and what describes it."""

    weights: Path
    config: Path


class ModelFolder(NamedTuple):
    """A model's folder, and which of the files in it holds the weights."""

    folder: Path
    weights: Path


def find_model(checkpoint: str, files: Sequence[str], *, weights: Sequence[str] = (WEIGHTS,)) -> ModelFolder:
    """Find the folder of a model whose files lie beside its weights.

    Args:
        checkpoint: A folder, the weights' file in it, or a hub id, which is downloaded unless it is in the hub's cache.
        files: Names of the other files that must be in it.
        weights: Names that the weights may have; the first that is there counts.

    Raises:
        UserError: As for `find_checkpoint`.
    """
    path = Path(checkpoint).expanduser()
    if path.is_file() and path.name in weights:
        path, weights = path.parent, [path.name]
    if path.is_dir():
        for file in files:
            _in_folder(path, file)
        found = next((name for name in weights if (path / name).is_file()), weights[0])
        return ModelFolder(path, _in_folder(path, found))
    if path.is_file() or not is_hub_id(checkpoint):
        raise UserError(f"There is no model {checkpoint}.", f"Give a folder with {weights[0]}, or a hub id.")
    return _find_on_hub(checkpoint, files, weights)


def _find_on_hub(repo: str, files: Sequence[str], weights: Sequence[str]) -> ModelFolder:
    otherwise = "give a folder that holds the files"
    fetch = _fetch(repo, ()) if len(weights) > 1 else None  # which of the names it has is not known here
    for name in weights[:-1]:
        folder = _snapshot(repo, [*files, name], otherwise=otherwise, fetch=fetch)
        if (folder / name).is_file():
            weights = [name]
            break
    folder = download(repo, [*files, weights[-1]], otherwise=otherwise, fetch=fetch)
    return ModelFolder(folder, folder / weights[-1])


def find_checkpoint(checkpoint: str, config: str | None = None) -> CheckpointFiles:
    """Find a checkpoint's weights and configuration.

    Args:
        checkpoint: A `.safetensors` file, a folder that holds `model.safetensors` and `config.yaml`, or
            a hub id, which is downloaded unless it is in the hub's cache.
        config: The configuration file; None takes the `config.yaml` beside the weights, or in the
            folder above.

    Raises:
        UserError: A file is not there, or cannot be had from the hub; the hint names the way out.
    """
    path = Path(checkpoint).expanduser()
    if path.is_file():
        weights = path
    elif path.is_dir():
        weights = _in_folder(path, WEIGHTS)
    elif is_hub_id(checkpoint):
        files = [WEIGHTS] if config else [WEIGHTS, CONFIG]
        weights = download(checkpoint, files, otherwise="give a folder that holds the files") / WEIGHTS
    else:
        raise UserError(f"There is no checkpoint {checkpoint}.", "Give a .safetensors file, its folder, or a hub id.")
    if weights.suffix != ".safetensors":
        raise UserError(f"{weights} is no .safetensors file.", "Other formats are not read: they can run code.")
    return CheckpointFiles(weights, _config_of(weights, config))


PROBE_SECONDS = 2.0


def check_findable(checkpoint: str) -> None:
    """Check, in little time, that a checkpoint is here, in the hub's cache, or may be on the hub.

    Args:
        checkpoint: A file, a folder, or a hub id.

    Raises:
        UserError: It is nowhere; says both readings of a name that may be a path or a hub id.
    """
    path = Path(checkpoint).expanduser()
    if path.exists():
        return
    name = parse_hub_name(checkpoint)
    if name is None or path.suffix in WEIGHTS_SUFFIXES:
        raise UserError(
            f"There is no checkpoint {checkpoint}.", _beside(path) or "Give a file, its folder, or a hub id."
        )
    cached = Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=name.repo, repo_type="model"), "snapshots")
    if cached.is_dir():
        return
    if "/" in name.repo and path.parent.is_dir():
        raise UserError(
            f"There is no file or folder {checkpoint}, and no repository of this name in the hub's cache.",
            _beside(path) or _fetch(checkpoint, ()),
        )
    if not _hub_answers():
        raise NotFetchedError(
            f"{checkpoint} is no file or folder here, and not in the hub's cache;"
            f" {constants.ENDPOINT}, where it may be a repository, cannot be reached.",
            f"Give the path of a file or folder, or fetch it where there is a network: {_fetch(checkpoint, ())}",
        )


def _beside(path: Path) -> str:
    """Return what is in the folder where a path should be, for a hint; "" if there is nothing."""
    there = sorted(one.name for one in path.parent.iterdir()) if path.parent.is_dir() else []
    return f"In {path.parent}: {did_you_mean(path.name, there)}" if 0 < len(there) <= MOST_NAMES else ""


MOST_NAMES = 20
"""A hint that lists more names is not read."""


def _hub_answers() -> bool:
    """Whether a connection to the hub can be opened; behind a proxy nobody knows, and it may."""
    if constants.is_offline_mode():
        return False
    if getproxies():
        return True
    address = urlsplit(constants.ENDPOINT)
    port = address.port or (80 if address.scheme == "http" else 443)
    try:
        socket.create_connection((str(address.hostname), port), timeout=PROBE_SECONDS).close()
    except OSError:
        return False
    return True


def find_folder(name: str, files: Sequence[str], *, named_in: Path) -> Path:
    """Find the folder of a model that another model's configuration names.

    Args:
        name: A path, or a folder beside the one that holds the configuration, or else a hub id.
        files: Names of the files that must be in it.
        named_in: The configuration file.

    Raises:
        UserError: As for `find_checkpoint`.
    """
    folder = local_folder(name, named_in)
    if folder is not None:
        for file in files:
            _in_folder(folder, file)
        return folder
    return download(name, files, otherwise=f"put them into a folder {name} beside the one of {named_in}")


def find_weights(name: str, *, named_in: Path) -> Path:
    """Find the weights, in either form, of a model that another model's configuration names; see `find_folder`."""
    folder = local_folder(name, named_in)
    return find_model(name if folder is None else str(folder), [], weights=EITHER_WEIGHTS).weights


def is_lone_file(checkpoint: str) -> bool:
    """Return whether a name is that of a file of weights without configurations beside it, as LAION's CLAP."""
    path = Path(checkpoint)
    return path.suffix in (".pt", ".safetensors") and path.name not in EITHER_WEIGHTS


def find_tokenizer(name: str | None, *, beside: Path) -> Path:
    """Find the `tokenizer.json` of weights that come without one.

    Args:
        name: A folder or a hub id; None looks beside the weights only.
        beside: The weights; a tokenizer in their folder counts first.

    Raises:
        UserError: There is none, or the hub cannot give it.
    """
    own = beside.parent / TOKENIZER
    if own.is_file():
        return own
    if name is None:
        raise UserError(
            f"There is no {TOKENIZER} beside {beside}.", "Put it there, or name it with model.tokenizer=..."
        )
    if Path(name).expanduser().is_dir():
        return _in_folder(Path(name).expanduser(), TOKENIZER)
    return download(name, [TOKENIZER], otherwise=f"put its {TOKENIZER} beside {beside}") / TOKENIZER


def local_folder(name: str, named_in: Path) -> Path | None:
    """Return the folder that a configuration names; None where it is a hub id.

    Raises:
        UserError: It is neither a folder here nor a hub id.
    """
    for folder in (Path(name).expanduser(), named_in.parent.parent / name):
        if folder.is_dir():
            return folder
    if not is_hub_id(name):
        raise UserError(f"{named_in} names {name}, but there is no such folder.", "Fix the name, or put it there.")
    return None


def download(repo: str, files: Sequence[str], *, otherwise: str, fetch: str | None = None) -> Path:
    """Return the folder in the hub's cache that holds files of a repository, fetching what is not there.

    Args:
        repo: Hub id, such as "HaiwenXia/CMI-RM", or "HaiwenXia/CMI-RM@revision".
        files: What must be there.
        otherwise: The user's other choice, for the hint.
        fetch: The command that does the same by hand, for the hint; None for the plain one.

    Raises:
        UserError: The hub cannot be reached, does not know the repository, or wants a login.
    """
    folder = _snapshot(repo, files, otherwise=otherwise, fetch=fetch)
    missing = [file for file in files if not (folder / file).is_file()]
    if missing:
        raise NotFetchedError(
            f"{repo}, or its copy in {folder}, has no {' and no '.join(missing)}.",
            f"Where there is a network: {fetch or _fetch(repo, files)}; or {otherwise}.",
        )
    return folder


def _snapshot(repo: str, files: Sequence[str], *, otherwise: str, fetch: str | None) -> Path:
    """Return the folder in the hub's cache, with those of the files that the repository has."""
    name, revision = split_hub_name(repo)
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(files)))
    except HFValidationError as error:
        raise UserError(
            f"There is no {repo} here, and the hub knows no such name.", f"Fix it, or {otherwise}."
        ) from error
    except (HTTPError, OSError) as error:
        raise _explained(error, repo, fetch or _fetch(repo, files), otherwise=otherwise) from error


def _fetch(repo: str, files: Sequence[str]) -> str:
    name, revision = split_hub_name(repo)
    return " ".join(["hf download", name, *(["--revision", revision] if revision else []), *files])


def _explained(error: Exception, repo: str, fetch: str, *, otherwise: str) -> UserError:
    """Return the error for a failed download, with its cause and the way out."""
    # Behind the client's "not in the cache either" is why it looked there.
    cause = error if isinstance(error, HfHubHTTPError) else error.__cause__
    status = cause.response.status_code if isinstance(cause, HfHubHTTPError) else None
    if isinstance(cause, GatedRepoError) or status == NO_ACCESS:
        page = f"https://huggingface.co/{split_hub_name(repo).repo}"
        return UserError(
            f"The hub gives {repo} only to accounts that have been granted access.",
            f"Ask for it at {page}, then: hf auth login, then: {fetch}; or {otherwise}.",
        )
    if isinstance(cause, RevisionNotFoundError):
        name, revision = split_hub_name(repo)
        return UserError(f"{name} has no revision {revision}.", f"Fix the part after the @, or {otherwise}.")
    if isinstance(cause, RepositoryNotFoundError) or status == NO_LOGIN:
        return UserError(
            f"There is no {repo} here, and none on the hub that this login may see.",
            f"Fix the name, or if it is a private repository: hf auth login; or {otherwise}.",
        )
    reason = str(error).partition("\n")[0]
    return NotFetchedError(
        f"{repo} is not in the hub's cache and cannot be fetched: {reason}",
        f"Where there is a network: {fetch}; or {otherwise}.",
    )


def is_hub_id(name: str) -> bool:
    """Return whether a name has the form of a hub id, with or without a revision ("owner/name@revision")."""
    return parse_hub_name(name) is not None and not name.endswith(".safetensors")


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
