"""What Hydra and OmegaConf have to know before a configuration is composed: schemas, installed models, resolvers."""

import contextlib
import copy
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf
from omegaconf.basecontainer import BaseContainer

from cmi_bench.config import Config
from cmi_bench.data.declarations import name_of_file
from cmi_bench.errors import UserError, did_you_mean
from cmi_bench.models.checkpoint_kinds import TRAINED, kind_of_checkpoint
from cmi_bench.models.registry import installed_models
from cmi_bench.task_config import TASK_SCHEMAS
from cmi_bench.utils.distributed import decoders, device_option, job_device
from cmi_bench.utils.files import content_key, without_credentials, write_text_atomic
from cmi_bench.utils.installation import (
    BENCHMARK,
    as_typed,
    cache_folder,
    command_line,
    conf_folder,
    config_comment,
    project_folder,
)


class CredentialsCallback(Callback):
    """Hides users and passwords of addresses, such as `tracking.uri`'s, in what Hydra writes of a configuration."""

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Rewrite the files of the job, and of the sweep that it is in; Hydra has just written them."""
        hydra = config.hydra
        folder = Path(hydra.runtime.output_dir)
        written = [*(folder / hydra.output_subdir).glob("*.yaml")] if hydra.output_subdir else []
        for file in (*written, Path(hydra.sweep.dir) / "multirun.yaml"):
            if file.is_file():
                text = file.read_text(encoding="utf-8")
                if (hidden := without_credentials(text)) != text:
                    write_text_atomic(file, hidden)


class GroupInCode(ConfigSource):
    """A group whose configurations are made when they are asked for, and stand in no list."""

    group: ClassVar[str]
    package: ClassVar[str | None] = None
    """Where its configurations stand in the composed one, as in `# @package`; None for below the group's name."""

    @abstractmethod
    def node(self, name: str) -> DictConfig:
        """Return the configuration of a name; Hydra writes into what it gets."""

    def load_config(self, config_path: str) -> ConfigResult:
        """Return a configuration."""
        header = {"package": self.package}
        return ConfigResult(self.provider, self.full_path(), self.node(Path(config_path).stem), header)

    def is_group(self, config_path: str) -> bool:
        """Tell whether a path is the group."""
        return config_path.rstrip("/") == self.group

    def is_config(self, config_path: str) -> bool:
        """Tell whether a path is in the group."""
        group, _, name = config_path.partition("/")
        return group == self.group and bool(name) and "/" not in name

    def available(self) -> bool:
        """Tell that it can always be asked."""
        return True

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """Return none."""
        return []


class OwnSubsets(GroupInCode):
    """Makes `subset=NAME` one for every name that no file in `conf/subset/` has: that of a dataset of the user's own.

    Which those are is known only when `data` is composed; `data.chosen.check_subset` refuses a name that none of them
    has.
    """

    group = "subset"

    @staticmethod
    def scheme() -> str:
        """Return how its address in the search path begins."""
        return "own-subsets"

    def node(self, name: str) -> DictConfig:
        """Return the subset of one dataset."""
        return OmegaConf.create({"name": name, "datasets": [name]})


class TaskSchemas(GroupInCode):
    """The keys that a task has, which its file in `conf/task/` names: `/task_schema/train`.

    Reading one takes as long as composing with it, so that they are not all read for a command that needs one.
    """

    group = "task_schema"
    package = "_global_"

    @staticmethod
    def scheme() -> str:
        """Return how its address in the search path begins."""
        return "task-schemas"

    def node(self, name: str) -> DictConfig:
        """Return that of one task."""
        return copy.deepcopy(_schema_of(name))


@cache
def _schema_of(task: str) -> DictConfig:
    schema: DictConfig = OmegaConf.structured(TASK_SCHEMAS.get(task, Config))
    return schema


class OwnSearchPath(SearchPathPlugin):
    """Puts what this module knows behind `conf/` in Hydra's search path."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Add the packages that declare datasets, and the user's own subsets."""
        for package in dataset_packages():
            search_path.append(provider=package, path=f"pkg://{package}")
        for source in (OwnSubsets, TaskSchemas):
            search_path.append(provider="cmi_bench", path=f"{source.scheme()}://")


DATASETS = "cmi_bench.datasets"
"""Entry points of this group are packages with declarations of datasets in a folder `data/`."""


def dataset_packages() -> list[str]:
    """Return the installed packages that declare datasets, none of which is imported."""
    return sorted({point.value for point in entry_points(group=DATASETS)})


def _table(file: str | None) -> Path:
    """Return the file of `data.csv`.

    Raises:
        UserError: It is not named.
    """
    if not file:
        raise UserError("data=custom needs a table of your songs.", "Give it as data.csv=ratings.csv")
    return Path(file).expanduser()


def package_folder(name: str) -> str:
    """Return the folder of an installed package, for the paths in its declarations.

    Raises:
        UserError: There is no such package.
    """
    try:
        spec = find_spec(name)
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise UserError(f"There is no package {name!r}.", "Write ${package:NAME} with the name that Python imports.")
    return str(Path(spec.submodule_search_locations[0]))


def register() -> None:
    """Tell Hydra the schemas, what installed packages offer, subsets and resolvers; call before composing."""
    for plugin in (OwnSubsets, TaskSchemas, OwnSearchPath):
        Plugins.instance().register(plugin)
    store = ConfigStore.instance()
    for model in installed_models(taken=shipped_models()):
        store.store(group="model", name=model.name, node=model.config())
    project = project_folder()  # where the command was started, wherever a model goes to later
    resolvers: dict[str, Callable[..., Any]] = {
        "cache_folder": lambda: str(cache_folder()),
        "decoders": decoders,
        "device_option": device_option,
        "digest_of": lambda path: content_key(path=str(Path(path).absolute()))[:16],
        "folder_of": lambda file: str(_table(file).parent),
        "help_opening": _help_opening,
        "job_device": job_device,
        "name_of_file": lambda file: name_of_file(_table(file).stem),
        "package": package_folder,
        "project": lambda path: str(project / path),
        "run_group": lambda task, model: model if task == "benchmark" else task,
    }
    for name, resolver in resolvers.items():
        OmegaConf.register_new_resolver(name, resolver, replace=True)


def model_word(words: Sequence[str], checkpoint: object = None) -> list[str]:
    """Return the word that chooses the model for the checkpoints that the words of a command line name.

    Nothing where the words choose a model themselves, or name no checkpoint on this machine that `model=trained` loads:
    the default loads the others.

    Args:
        words: Overrides.
        checkpoint: One that is named otherwise.

    Raises:
        UserError: A checkpoint's `config.yaml` cannot be read.
    """
    values = {key: found for word in words if (found := _values(word)) for key in [found.key_or_group]}
    if "model" in values:
        return []
    checkpoints = [*_listed(values.get("model.checkpoint")), *([str(checkpoint)] if checkpoint else [])]
    if folders := _listed(values.get("sweep.checkpoint_dir")):
        pattern = next(iter(_listed(values.get("sweep.pattern"))), "*")
        folder = Path(folders[0]).expanduser()
        checkpoints += [str(path) for path in folder.glob("*") if fnmatchcase(path.name, pattern)]
    kinds = {kind_of_checkpoint(checkpoint) for checkpoint in checkpoints} - {None}
    return [f"model={TRAINED.model}"] if kinds == {TRAINED} else []


def _values(word: str) -> Override | None:
    """Return a word as Hydra reads it; None where it is no override of a key that counts here, or cannot be read."""
    if word.lstrip("+").partition("=")[0] not in ("model", "model.checkpoint", "sweep.checkpoint_dir", "sweep.pattern"):
        return None
    try:
        return OverridesParser.create().parse_override(word)
    except HydraException:  # which composing will tell
        return None


def _listed(override: Override | None) -> list[str]:
    if override is None:
        return []
    value = override.value()
    return [str(one) for one in (value.list if isinstance(value, ChoiceSweep) else [value]) if isinstance(one, str)]


_COMPOSING = threading.RLock()


@contextlib.contextmanager
def registered() -> Iterator[None]:
    """Register for a block in which a program composes, which may be one of Hydra's: what that has set up is put back.

    The global Hydra, search path, schemas and resolvers of the program are its own before and after.
    """
    with _COMPOSING:
        plugins = Plugins.instance().plugin_type_to_subclass_list  # found once: what they register is to stay
        searched = list(plugins[SearchPathPlugin])
        store, hydra = ConfigStore.instance(), GlobalHydra.instance().hydra
        repo, resolvers = _copy_of(store.repo), dict(BaseContainer._resolvers)
        GlobalHydra.instance().clear()
        try:
            register()
            yield
        finally:
            GlobalHydra.instance().hydra = hydra
            plugins[SearchPathPlugin] = searched
            store.repo = repo
            BaseContainer._resolvers = resolvers


def _copy_of(repo: dict[str, Any]) -> dict[str, Any]:
    """Copy groups, not what is stored in them: Hydra copies that before it changes it."""
    return {name: _copy_of(found) if isinstance(found, dict) else found for name, found in repo.items()}


def _help_opening(task: str, *, _root_: DictConfig) -> str:
    """Return how the help begins: what the program or the task is for, and examples."""
    examples = str(_root_.hydra.help.footer)
    opening = str(_root_.hydra.help.header).strip()
    if task != BENCHMARK:
        examples = "\n".join(line for line in examples.splitlines() if f" task={task} " in f"{line} ")
        opening = f"{command_line(f'task={task}')}: {config_comment(conf_folder() / 'task' / f'{task}.yaml')}"
    return "\n".join([opening, "", "EXAMPLES", *(f"  {line}" for line in as_typed(examples))])


def shipped_models() -> set[str]:
    """Return the names of the models that come with the package."""
    return {path.stem for path in (conf_folder() / "model").glob("*.yaml")}


NO_LOCAL = "none"
"""Leaves this machine's settings out: `local=none`, or `CMI_BENCH_LOCAL=none` in the environment."""


def refuse_unknown_local(choices: Mapping[str, Any]) -> None:
    """Check that the `local` that was chosen is there: Hydra passes over what is optional.

    Args:
        choices: By group, what was chosen: `hydra.runtime.choices`.

    Raises:
        UserError: It is not; names the nearest.
    """
    chosen = choices.get("local")
    there = GlobalHydra.instance().config_loader().get_group_options("local")
    if chosen not in (None, "default", NO_LOCAL, *there):
        raise UserError(f"There is no local={chosen}.", did_you_mean(str(chosen), [*there, NO_LOCAL]))
