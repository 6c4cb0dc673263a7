"""A model's files: which ones it is made of, known without building it and without torch, and how they get here.

They go into the hub's own cache; into `model.checkpoint` go SongEval's weights, which are on GitHub and not on the hub,
and LAION's CLAP, which is converted.
"""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import constants, try_to_load_from_cache
from huggingface_hub.file_download import repo_folder_name
from safetensors import SafetensorError, safe_open

from cmi_bench.download.fetch import Download
from cmi_bench.download.http import Host
from cmi_bench.download.hub import HubRepo
from cmi_bench.download.state import Content, Work
from cmi_bench.errors import UserError
from cmi_bench.models.checkpoint_names import CONFIG, parse_hub_name, split_hub_name
from cmi_bench.models.config_files import read_mapping
from cmi_bench.models.hub import (
    EITHER_WEIGHTS,
    ENCODER_CONFIG,
    LAION_CLAP_FOLDER,
    PREPROCESSOR,
    TOKENIZER,
    WEIGHTS,
    download,
    is_hub_id,
    is_lone_file,
)
from cmi_bench.models.registry import target_of
from cmi_bench.utils.files import without_credentials
from cmi_bench.utils.waiting import within

log = logging.getLogger(__name__)

ENCODERS = ("audio_module.", "text_module.")
"""CMI-RM's prefixes of tensors that MuQ-MuLan has as well."""


class ModelFile(NamedTuple):
    """A file of a repository on the hub."""

    repo: str
    names: tuple[str, ...]
    """What it may be called there, the likeliest first."""


def _files(repo: str, *names: str | tuple[str, ...]) -> list[ModelFile]:
    return [ModelFile(repo, (name,) if isinstance(name, str) else name) for name in names]


Look = Callable[[str, str], Path | None]
"""Returns a file of a repository, or None where it cannot be had (at the moment)."""


def model_files(spec: Mapping[str, Any], look: Look) -> list[ModelFile]:
    """Return what a model needs from the hub, as far as can be known, each file once.

    One file names the next repository, so a file that `look` cannot give hides what it would have named.

    Args:
        spec: The composed `model` group.
        look: Finds the configurations and, where they are on this machine, the weights.

    Raises:
        UserError: A configuration is there but not readable.
    """
    find = _FINDERS.get(target_of(spec))
    return [] if find is None or not spec.get("checkpoint") else list(dict.fromkeys(find(spec, look)))


def _cmi_rm(spec: Mapping[str, Any], look: Look) -> list[ModelFile]:
    """CMI-RM: its weights, and the configurations of MuQ-MuLan, MuQ and XLM-RoBERTa behind them."""
    checkpoint = str(spec["checkpoint"])
    path = Path(checkpoint).expanduser()
    config = _given_config(spec, path)
    files = []
    if path.exists():
        weights: Path | None = path / WEIGHTS if path.is_dir() else path
    else:
        files = _files(checkpoint, WEIGHTS, *([] if spec.get("config") else [CONFIG]))
        weights = look(checkpoint, WEIGHTS)
        config = config or look(checkpoint, CONFIG)
    if config is None:
        return files
    lacks_encoders = weights is not None and weights.is_file() and not _has_encoders(weights)
    mulan = _named(_name(config, "model", "model_name"), config, look)
    encoders = _encoders_named(config)
    if lacks_encoders and encoders is not None:
        files += [] if Path(encoders).expanduser().exists() else _files(encoders, WEIGHTS)
    more = mulan.files(ENCODER_CONFIG, *([EITHER_WEIGHTS] if lacks_encoders and encoders is None else []))
    return files + more + _towers(mulan.config, look)


def _encoders_named(config: Path) -> str | None:
    """Return the checkpoint of which a head's encoders are; None where they are MuQ-MuLan's own."""
    section = read_mapping(config).get("model")
    found = section.get("encoders") if isinstance(section, Mapping) else None
    return None if found is None else str(found)


def _trained(spec: Mapping[str, Any], look: Look) -> list[ModelFile]:
    """Trained heads: their own files, and what their backbone needs."""
    checkpoint = str(spec["checkpoint"])
    path = Path(checkpoint).expanduser()
    config = _given_config(spec, path)
    files = []
    if not path.exists():
        files = _files(checkpoint, WEIGHTS, CONFIG)
        config = config or look(checkpoint, CONFIG)
    backbone = read_mapping(config).get("backbone") if config else None
    if not isinstance(backbone, Mapping):
        return files
    own = {"checkpoint": spec["backbone"]} if spec.get("backbone") else {}
    return files + model_files({**backbone, **own}, look)


def _given_config(spec: Mapping[str, Any], checkpoint: Path) -> Path | None:
    """Return the configuration on this machine: the one given, or that beside the checkpoint."""
    if spec.get("config"):
        return Path(str(spec["config"])).expanduser()
    folder = checkpoint if checkpoint.is_dir() else checkpoint.parent
    return next(
        (one / CONFIG for one in (folder, folder.parent) if checkpoint.exists() and (one / CONFIG).is_file()), None
    )


def _has_encoders(weights: Path) -> bool:
    names = tensor_shapes(weights)
    return all(any(name.startswith(prefix) for name in names) for prefix in ENCODERS)


def _towers(mulan: Path | None, look: Look) -> list[ModelFile]:
    """Return what a MuQ-MuLan's configuration names: the configurations of MuQ and XLM-RoBERTa."""
    if mulan is None:
        return []
    muq = _named(_name(mulan, "audio_model", "name"), mulan, look)
    xlmr = _named(_name(mulan, "text_model", "name"), mulan, look)
    return muq.files(ENCODER_CONFIG) + xlmr.files(ENCODER_CONFIG, TOKENIZER)


def _muq_mulan(spec: Mapping[str, Any], look: Look) -> list[ModelFile]:
    """MuQ-MuLan: all of it, and the configurations of MuQ and XLM-RoBERTa behind it."""
    mulan = _given(spec, "checkpoint", look)
    return mulan.files(ENCODER_CONFIG, EITHER_WEIGHTS) + _towers(mulan.config, look)


def _songeval(spec: Mapping[str, Any], look: Look) -> list[ModelFile]:
    """SongEval: MuQ; its own weights are not on the hub."""
    return _given(spec, "muq", look).files(ENCODER_CONFIG, EITHER_WEIGHTS)


def _clap(spec: Mapping[str, Any], look: Look) -> list[ModelFile]:
    """CLAP: its weights, and what prepares its inputs; of LAION's own file, fetched elsewhere, the tokenizer."""
    checkpoint, tokenizer = str(spec["checkpoint"]), str(spec.get("tokenizer") or "")
    if is_lone_file(checkpoint):
        is_here = (Path(checkpoint).expanduser().parent / TOKENIZER).is_file() or Path(tokenizer).expanduser().is_dir()
        return [] if is_here or not is_hub_id(tokenizer) else _files(tokenizer, TOKENIZER)
    return _given(spec, "checkpoint", look).files(ENCODER_CONFIG, PREPROCESSOR, TOKENIZER, EITHER_WEIGHTS)


def _audiobox(spec: Mapping[str, Any], look: Look) -> list[ModelFile]:
    """Audiobox Aesthetics: its weights and sizes."""
    return _given(spec, "checkpoint", look).files(ENCODER_CONFIG, EITHER_WEIGHTS)


_FINDERS: dict[str, Callable[[Mapping[str, Any], Look], list[ModelFile]]] = {
    "cmi_bench.models.audiobox.Audiobox": _audiobox,
    "cmi_bench.models.clap.Clap": _clap,
    "cmi_bench.models.cmi_rm.CmiRM": _cmi_rm,
    "cmi_bench.models.muq_mulan.MuQMuLan": _muq_mulan,
    "cmi_bench.models.songeval.SongEvalRM": _songeval,
    "cmi_bench.models.trained.TrainedModel": _trained,
}
"""By the model's `_target_`; models that are not here need nothing from the hub, or get it themselves."""


class _Place(NamedTuple):
    """What a name of a model stands for."""

    repo: str | None
    """Its repository on the hub; None where the name is that of a folder here."""
    config: Path | None
    """Its own configuration, if it is here."""

    def files(self, *names: str | tuple[str, ...]) -> list[ModelFile]:
        """Return those of its files that have to come from the hub."""
        return _files(self.repo, *names) if self.repo is not None else []


def _named(name: str, named_in: Path, look: Look) -> _Place:
    """Return what a name in a configuration stands for."""
    for folder in (Path(name).expanduser(), named_in.parent.parent / name):
        if folder.is_dir():
            return _Place(None, folder / ENCODER_CONFIG)
    return _Place(name, look(name, ENCODER_CONFIG))


def _given(spec: Mapping[str, Any], key: str, look: Look) -> _Place:
    """Return what the name of a model in its `model` group stands for."""
    name = str(spec[key])
    path = Path(name).expanduser()
    if path.exists():
        return _Place(None, (path if path.is_dir() else path.parent) / ENCODER_CONFIG)
    if not is_hub_id(name):  # a path that is not there: whoever builds the model says so
        return _Place(None, None)
    return _Place(name, look(name, ENCODER_CONFIG))


def _name(file: Path, section: str, key: str) -> str:
    try:
        return str(read_mapping(file)[section][key])
    except (KeyError, TypeError) as error:
        raise UserError(f"{file} has no readable {section}.{key}: {error}", "Get the file again.") from error


def tensor_shapes(file: Path) -> dict[str, list[int]]:
    """Return the tensors' names and shapes in a `.safetensors` file, after a check that it is whole.

    Raises:
        UserError: It is cut off, or no such file.
    """
    try:
        with safe_open(file, framework="numpy") as opened:
            return {name: opened.get_slice(name).get_shape() for name in opened.keys()}  # noqa: SIM118 - no mapping
    except (OSError, SafetensorError) as error:
        raise UserError(f"{file} is cut off, or no .safetensors file: {error}", "Get it again.") from error


HUB = Host("The Hugging Face hub", "HF_ENDPOINT")
CLIENT_SECONDS = 300.0
"""How long the hub's client may take over a small file."""
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
    return found if found is not None and is_whole(found) else None


def is_whole(file: Path) -> bool:
    """Tell whether a file is there, and not cut off where its format tells."""
    if file.suffix != ".safetensors" or not file.is_file():
        return file.is_file()
    try:
        tensor_shapes(file)
    except UserError as error:
        log.warning("%s", error.what)
        return False
    return True


def missing_files(spec: Mapping[str, Any]) -> list[ModelFile]:
    """Return what a model needs and the cache lacks, as far as the cache knows.

    Raises:
        UserError: A configuration that is there cannot be read.
    """
    return [one for one in model_files(spec, cached) if not _is_cached(one)]


def checkpoint_works(spec: Mapping[str, Any], endpoint: str) -> list[Work]:
    """Return what has to be fetched for a model; its configurations are fetched on the way.

    Raises:
        UserError: The hub cannot be reached, does not know a repository, or wants a login.
    """
    missing = [one for one in model_files(spec, _look) if not _is_cached(one)]
    for one in missing:
        if one.names[0].endswith(SMALL_SUFFIXES):
            _into_cache(one.repo, one.names[0])
    large = [one for one in missing if not one.names[0].endswith(SMALL_SUFFIXES)]
    return [_work(one, endpoint) for one in large]


def _is_cached(one: ModelFile) -> bool:
    return any(cached(one.repo, name) is not None for name in one.names)


def _look(repo: str, file: str) -> Path | None:
    """Return a file, fetched if it is small."""
    found = cached(repo, file)
    return found if found or not file.endswith(SMALL_SUFFIXES) else _into_cache(repo, file)


def _into_cache(repo: str, file: str) -> Path:
    """Return a file in the hub's cache, where the hub's client puts it unless it is there."""
    try:
        return within(CLIENT_SECONDS, lambda: download(repo, [file], otherwise="name a folder that holds them") / file)
    except TimeoutError as error:
        raise HUB.unreachable(error).final from error


def _work(one: ModelFile, endpoint: str) -> Work:
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
    missing = [file for file in (CONFIG, f"ckpt/{WEIGHTS}") if not is_whole(folder / file)]
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


CLAP_TARGET = "cmi_bench.models.clap.Clap"
LAION_CLAP = "lukewys/laion_clap"


def laion_clap_works(spec: Mapping[str, Any], endpoint: str) -> list[Work]:
    """Return what has to be fetched and converted: LAION's CLAP, if `model.checkpoint` is what is made of it.

    Raises:
        UserError: The hub cannot be reached, or has no such file.
    """
    target = Path(str(spec.get("checkpoint"))).expanduser()
    is_converted = target.parent.name == LAION_CLAP_FOLDER and target.suffix == ".safetensors"
    if target_of(spec) != CLAP_TARGET or not is_converted or is_whole(target):
        return []
    repo = HubRepo(LAION_CLAP, "model", endpoint)
    commit = repo.commit()
    name, source = f"{target.stem}.pt", target.with_suffix(".pt")
    listed = repo.files([name], commit).get(name)
    if listed is None:
        raise repo.host.refused(404, f"{repo.page}/{name}")
    is_own = source.is_file()

    def convert() -> Mapping[str, Content]:
        from cmi_bench.models.clap_checkpoint import convert_original

        convert_original(source, target)
        if is_own:
            log.info("%s was converted to %s and is not needed any more.", source, target.name)
        else:
            source.unlink()
        return {}

    return [
        Work(
            slug="checkpoint",
            name=f"CLAP, {name}, to be converted",
            origin=f"{repo.page} at {commit[:10]}",
            folder=target.parent,
            downloads=[repo.download(listed, source)],
            files=1,
            unpacked_bytes=listed.size // 3,  # without the two moments of its optimizer
            finish=convert,
        )
    ]
