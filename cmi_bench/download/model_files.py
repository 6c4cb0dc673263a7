"""A model's files: which ones it is made of, known without building it and without torch, and how they get here.

They go into the hub's own cache; SongEval's weights, which are on GitHub and not on the hub, into `model.checkpoint`.
"""

import json
import logging
import struct
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from huggingface_hub import constants, try_to_load_from_cache
from huggingface_hub.file_download import repo_folder_name

from cmi_bench.download.http import Download, Host
from cmi_bench.download.hub import HubRepo
from cmi_bench.download.state import Content, Work
from cmi_bench.errors import UserError
from cmi_bench.models.hub import (
    CONFIG,
    EITHER_WEIGHTS,
    ENCODER_CONFIG,
    PREPROCESSOR,
    TOKENIZER,
    WEIGHTS,
    download,
    is_hub_id,
    parse_hub_name,
    split_hub_name,
)
from cmi_bench.models.registry import target_of
from cmi_bench.utils.files import without_credentials

log = logging.getLogger(__name__)

ENCODERS = ("audio_module.", "text_module.")
"""CMI-RM's prefixes of tensors that MuQ-MuLan has as well."""


class Part(NamedTuple):
    """Files of one repository on the hub."""

    repo: str
    files: tuple[str, ...]
    or_else: str | None = None
    """What the last of the files is called in repositories that do not have it."""


Look = Callable[[str, str], Path | None]
"""Returns a file of a repository, or None where it cannot be had (at the moment)."""


def model_parts(spec: Mapping[str, Any], look: Look) -> list[Part]:
    """Return what a model needs from the hub, as far as can be known.

    One file names the next repository, so a file that `look` cannot give hides what it would have named.

    Args:
        spec: The composed `model` group.
        look: Finds the configurations and, where they are on this machine, the weights.

    Raises:
        UserError: A configuration is there but not readable.
    """
    find = _PARTS.get(target_of(spec))
    return [] if find is None or not spec.get("checkpoint") else find(spec, look)


def cmi_rm_parts(spec: Mapping[str, Any], look: Look) -> list[Part]:
    """CMI-RM: its weights, and the configurations of MuQ-MuLan, MuQ and XLM-RoBERTa behind them."""
    checkpoint = str(spec["checkpoint"])
    path = Path(checkpoint).expanduser()
    config = _given_config(spec, path)
    parts = []
    if path.exists():
        weights: Path | None = path / WEIGHTS if path.is_dir() else path
    else:
        parts.append(Part(checkpoint, (WEIGHTS,) if spec.get("config") else (WEIGHTS, CONFIG)))
        weights = look(checkpoint, WEIGHTS)
        config = config or look(checkpoint, CONFIG)
    if config is not None:
        lacks_encoders = weights is not None and weights.is_file() and not _has_encoders(weights)
        parts += _mulan_parts(config, look, lacks_encoders=lacks_encoders)
    return parts


def _given_config(spec: Mapping[str, Any], checkpoint: Path) -> Path | None:
    """Return the configuration on this machine: the one given, or that beside the checkpoint."""
    if spec.get("config"):
        return Path(str(spec["config"])).expanduser()
    folder = checkpoint if checkpoint.is_dir() else checkpoint.parent
    return next(
        (one / CONFIG for one in (folder, folder.parent) if checkpoint.exists() and (one / CONFIG).is_file()), None
    )


def _mulan_parts(config: Path, look: Look, *, lacks_encoders: bool) -> list[Part]:
    weights, or_else = EITHER_WEIGHTS if lacks_encoders else (None, None)
    files = (ENCODER_CONFIG, weights) if weights else (ENCODER_CONFIG,)
    mulan = _named(_name(config, "model", "model_name"), config, look, files, or_else)
    if mulan.config is None:
        return mulan.parts
    return mulan.parts + _tower_parts(mulan.config, look)


def _tower_parts(mulan: Path, look: Look) -> list[Part]:
    muq = _named(_name(mulan, "audio_model", "name"), mulan, look, (ENCODER_CONFIG,))
    xlmr = _named(_name(mulan, "text_model", "name"), mulan, look, (ENCODER_CONFIG, TOKENIZER))
    return muq.parts + xlmr.parts


def muq_mulan_parts(spec: Mapping[str, Any], look: Look) -> list[Part]:
    """MuQ-MuLan: all of it, and the configurations of MuQ and XLM-RoBERTa behind it."""
    mulan = _top(spec, "checkpoint", look, (ENCODER_CONFIG,))
    return mulan.parts if mulan.config is None else mulan.parts + _tower_parts(mulan.config, look)


def songeval_parts(spec: Mapping[str, Any], look: Look) -> list[Part]:
    """SongEval: MuQ; its own weights are not on the hub."""
    return _top(spec, "muq", look, (ENCODER_CONFIG,)).parts


def clap_parts(spec: Mapping[str, Any], look: Look) -> list[Part]:
    """CLAP: its weights, and what prepares its inputs."""
    return _top(spec, "checkpoint", look, (ENCODER_CONFIG, PREPROCESSOR, TOKENIZER)).parts


def audiobox_parts(spec: Mapping[str, Any], look: Look) -> list[Part]:
    """Audiobox Aesthetics: its weights and sizes."""
    return _top(spec, "checkpoint", look, (ENCODER_CONFIG,)).parts


class _Named(NamedTuple):
    """What a name in a configuration stands for."""

    parts: list[Part]
    """What has to come from the hub; nothing where the name is that of a folder here."""
    config: Path | None
    """Its own configuration, if it is here."""


def _named(name: str, named_in: Path, look: Look, files: tuple[str, ...], or_else: str | None = None) -> _Named:
    for folder in (Path(name).expanduser(), named_in.parent.parent / name):
        if folder.is_dir():
            return _Named([], folder / ENCODER_CONFIG)
    return _Named([Part(name, files, or_else)], look(name, ENCODER_CONFIG))


def _top(spec: Mapping[str, Any], key: str, look: Look, files: tuple[str, ...]) -> _Named:
    """Return what the name of a model in its `model` group stands for: these files and its weights."""
    path = Path(str(spec[key])).expanduser()
    if path.exists():
        return _Named([], (path if path.is_dir() else path.parent) / ENCODER_CONFIG)
    if not is_hub_id(str(spec[key])):  # a path that is not there: whoever builds the model says so
        return _Named([], None)
    wanted, or_else = EITHER_WEIGHTS
    return _Named([Part(str(spec[key]), (*files, wanted), or_else)], look(str(spec[key]), ENCODER_CONFIG))


def _name(file: Path, section: str, key: str) -> str:
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
        return str(values[section][key])
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError) as error:
        raise UserError(f"{file} has no readable {section}.{key}: {error}", "Get the file again.") from error


def _has_encoders(weights: Path) -> bool:
    names = tensor_shapes(weights)
    return all(any(name.startswith(prefix) for name in names) for prefix in ENCODERS)


def tensor_shapes(file: Path) -> dict[str, list[int]]:
    """Return the tensors' names and shapes in a `.safetensors` file, after a check that it is whole.

    Raises:
        UserError: It is cut off, or no such file.
    """
    try:
        with file.open("rb") as opened:
            (length,) = struct.unpack("<Q", opened.read(8))
            header = json.loads(opened.read(length)) if length <= file.stat().st_size else {}
        tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
        promised = 8 + length + max((entry["data_offsets"][1] for entry in tensors.values()), default=0)
        shapes = {name: [int(size) for size in entry["shape"]] for name, entry in tensors.items()}
    except (OSError, ValueError, struct.error, KeyError, TypeError) as error:
        raise UserError(f"{file} is no .safetensors file: {error}", "Get it again.") from error
    size = file.stat().st_size
    if size != promised:
        raise UserError(f"{file} has {size:,} bytes; its header promises {promised:,}.", "It is cut off: get it again.")
    return shapes


class PartFile(NamedTuple):
    """One file of one repository."""

    repo: str
    file: str
    or_else: str | None = None
    """What it is called where the repository has no such file."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names that it may have, the likeliest first."""
        return (self.file,) if self.or_else is None else (self.file, self.or_else)


def files_of(parts: Iterable[Part]) -> list[PartFile]:
    """Return the files of all parts, each once."""
    return list(
        dict.fromkeys(
            PartFile(part.repo, file, part.or_else if file == part.files[-1] else None)
            for part in parts
            for file in part.files
        )
    )


_PARTS: dict[str, Callable[[Mapping[str, Any], Look], list[Part]]] = {
    "cmi_bench.models.audiobox.Audiobox": audiobox_parts,
    "cmi_bench.models.clap.Clap": clap_parts,
    "cmi_bench.models.cmi_rm.CmiRM": cmi_rm_parts,
    "cmi_bench.models.muq_mulan.MuQMuLan": muq_mulan_parts,
    "cmi_bench.models.songeval.SongEvalRM": songeval_parts,
}
"""By the model's `_target_`; models that are not here need nothing from the hub, or get it themselves."""


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


SONGEVAL_HOST = Host("The server of SongEval's repository", "sources.songeval")
SONGEVAL_TARGET = "cmi_bench.models.songeval.SongEvalRM"
SONGEVAL_FOLDER = "SongEval"
"""A folder of this name is taken for a copy of the repository."""


def songeval_works(spec: Mapping[str, Any], url: str) -> list[Work]:
    """Return what has to be fetched: the files of the repository that `model.checkpoint` lacks, if it is a copy of it.

    Args:
        spec: The composed `model` group.
        url: Where the repository's files are.
    """
    folder = Path(str(spec.get("checkpoint"))).expanduser()
    if target_of(spec) != SONGEVAL_TARGET or folder.name != SONGEVAL_FOLDER:
        return []
    missing = [file for file in (CONFIG, f"ckpt/{WEIGHTS}") if not _is_whole(folder / file)]
    if not missing:
        return []
    base = url.rstrip("/")
    return [
        Work(
            slug="checkpoint",
            name=f"SongEval, {' and '.join(missing)}",
            origin=without_credentials(base),
            folder=folder,
            downloads=[Download(f"{base}/{file}", folder / file, SONGEVAL_HOST) for file in missing],
            files=len(missing),
        )
    ]


def _is_whole(file: Path) -> bool:
    if file.suffix != ".safetensors" or not file.is_file():
        return file.is_file()
    try:
        tensor_shapes(file)
    except UserError:
        return False
    return True
