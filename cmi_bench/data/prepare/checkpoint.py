"""A model's files, from the hub into the hub's own cache."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import constants, try_to_load_from_cache
from huggingface_hub.file_download import repo_folder_name

from cmi_bench.data.prepare.hub import HubRepo
from cmi_bench.data.prepare.work import Content, Work
from cmi_bench.errors import UserError
from cmi_bench.models.hub import download
from cmi_bench.models.hub_name import parse_hub_name, split_hub_name
from cmi_bench.models.parts import PartFile, files_of, model_parts, tensor_shapes

log = logging.getLogger(__name__)

SMALL_SUFFIXES = (".json", ".yaml")
"""Configurations and tokenizers: fetched at once, as they say what else is needed."""


def in_cache(repo: str, file: str) -> Path | None:
    """Return a file of a repository in the hub's cache, None if it is not there; nobody is asked."""
    if parse_hub_name(repo) is None:
        return None
    name, revision = split_hub_name(repo)
    found = try_to_load_from_cache(name, file, revision=revision)
    return Path(found) if isinstance(found, str) else None


def cached(repo: str, file: str) -> Path | None:
    """Return a file as `in_cache` does, but not one that is cut off."""
    found = in_cache(repo, file)
    if found is not None and found.suffix == ".safetensors":
        try:
            tensor_shapes(found)
        except UserError as error:
            log.warning("%s", error.what)
            return None
    return found


def missing_files(spec: Mapping[str, Any]) -> list[PartFile]:
    """Return what a model needs and the cache lacks, as far as the cache knows.

    Raises:
        UserError: A configuration that is there cannot be read.
    """
    return [one for one in files_of(model_parts(spec, cached)) if not _is_cached(one)]


def checkpoint_works(spec: Mapping[str, Any], endpoint: str) -> list[Work]:
    """Return what has to be fetched for a model; its configurations are fetched on the way.

    Raises:
        UserError: The hub cannot be reached, does not know a repository, or wants a login.
    """
    missing = [one for one in files_of(model_parts(spec, _look)) if not _is_cached(one)]
    for one in missing:
        if one.file.endswith(SMALL_SUFFIXES):
            _into_cache(one.repo, one.file)
    large = [one for one in missing if not one.file.endswith(SMALL_SUFFIXES)]
    return [_work(one, endpoint) for one in large]


def _is_cached(one: PartFile) -> bool:
    return any(cached(one.repo, name) is not None for name in one.names)


def _look(repo: str, file: str) -> Path | None:
    """Return a file, fetched if it is small."""
    found = cached(repo, file)
    return found if found or not file.endswith(SMALL_SUFFIXES) else _into_cache(repo, file)


def _into_cache(repo: str, file: str) -> Path:
    return download(repo, [file], otherwise="name a folder that holds the files") / file


def _work(one: PartFile, endpoint: str) -> Work:
    """Return how a large file gets into the cache.

    The cache keeps contents by checksum in `blobs/`, and the hub's client makes of one that is there what else it
    wants without fetching it again. By itself the client would begin anew after an interruption.
    """
    name, revision = split_hub_name(one.repo)
    repo = HubRepo(name, "model", endpoint, revision)
    commit = repo.commit()
    there = repo.files(one.names, commit)
    file = next((name for name in one.names if name in there), one.names[0])
    if file not in there:
        raise repo.host.refused(404, f"{repo.page}/{file}")
    listed = there[file]
    folder = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repo.repo_id, repo_type="model")

    def link() -> Mapping[str, Content]:
        _into_cache(one.repo, file)
        return {}

    return Work(
        slug="checkpoint",
        name=f"{repo.repo_id.rpartition('/')[2]}, {file}",
        origin=f"{repo.page} at {commit[:10]}",
        folder=folder,
        downloads=[repo.download(listed, folder / "blobs" / listed.digest.value)],
        files=1,
        finish=link,
    )
