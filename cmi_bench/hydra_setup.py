"""What Hydra and OmegaConf have to know before a configuration is composed: schemas, installed models, resolvers."""

import contextlib
import copy
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from omegaconf.basecontainer import BaseContainer

from cmi_bench.config import TASK_SCHEMAS, Config
from cmi_bench.errors import UserError, did_you_mean
from cmi_bench.models.registry import installed_models
from cmi_bench.utils.distributed import device_option, job_device
from cmi_bench.utils.files import without_credentials, write_text_atomic
from cmi_bench.utils.installation import cache_folder, conf_folder, project_folder


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


def register() -> None:
    """Tell Hydra the schemas, the models of installed packages and the resolvers; call before composing."""
    store = ConfigStore.instance()
    store.store(name="schema", node=Config)
    for task, schema in TASK_SCHEMAS.items():
        store.store(name=f"{task}_schema", node=schema)
    for model in installed_models(taken=shipped_models()):
        store.store(group="model", name=model.name, node=model.config())
    project = project_folder()  # where the command was started, wherever a model goes to later
    resolvers: dict[str, Callable[..., Any]] = {
        "cache_folder": lambda: str(cache_folder()),
        "device_option": device_option,
        "job_device": job_device,
        "project": lambda path: str(project / path),
        "run_group": lambda task, model: model if task == "benchmark" else task,
    }
    for name, resolver in resolvers.items():
        OmegaConf.register_new_resolver(name, resolver, replace=True)


_COMPOSING = threading.RLock()


@contextlib.contextmanager
def registered() -> Iterator[None]:
    """Register for a block in which a program composes, which may be one of Hydra's: what that has set up is put back.

    The global Hydra, schemas and resolvers of the program are its own before and after.
    """
    with _COMPOSING:
        Plugins.instance()  # finds Hydra's plugins, once: what they register is to stay
        store, hydra = ConfigStore.instance(), GlobalHydra.instance().hydra
        repo, resolvers = copy.deepcopy(store.repo), dict(BaseContainer._resolvers)
        GlobalHydra.instance().clear()
        try:
            register()
            yield
        finally:
            GlobalHydra.instance().hydra = hydra
            store.repo = repo
            BaseContainer._resolvers = resolvers


def shipped_models() -> set[str]:
    """Return the names of the models that come with the package."""
    return {path.stem for path in (conf_folder() / "model").glob("*.yaml")}


NO_LOCAL = "none"
"""Leaves this machine's settings out: `local=none`, or `CMI_BENCH_LOCAL=none` in the environment."""


def refuse_unknown_local() -> None:
    """Check that the `local` that was chosen is there: Hydra passes over what is optional.

    Raises:
        UserError: It is not; names the nearest.
    """
    chosen = HydraConfig.get().runtime.choices.get("local")
    there = GlobalHydra.instance().config_loader().get_group_options("local")
    if chosen not in (None, "default", NO_LOCAL, *there):
        raise UserError(f"There is no local={chosen}.", did_you_mean(str(chosen), [*there, NO_LOCAL]))
