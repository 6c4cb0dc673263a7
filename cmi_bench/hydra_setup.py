"""What Hydra and OmegaConf have to know before a configuration is composed: schemas, installed models, resolvers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from cmi_bench.config import TASK_SCHEMAS, Config
from cmi_bench.models.registry import installed_models
from cmi_bench.utils.distributed import device_option, job_device


def register(project: Path) -> None:
    """Tell Hydra the schemas, the models of installed packages and the resolvers; call before composing.

    Args:
        project: The project's folder: default outputs, data and the MLflow store are in it.
    """
    store = ConfigStore.instance()
    store.store(name="schema", node=Config)
    for task, schema in TASK_SCHEMAS.items():
        store.store(name=f"{task}_schema", node=schema)
    shipped = {path.stem for path in (project / "conf" / "model").glob("*.yaml")}
    for model in installed_models(taken=shipped):
        store.store(group="model", name=model.name, node=model.config())
    resolvers: dict[str, Callable[..., Any]] = {
        "device_option": device_option,
        "job_device": job_device,
        "project": lambda path: str(project / path),
        "run_group": lambda task, model: model if task == "benchmark" else task,
    }
    for name, resolver in resolvers.items():
        OmegaConf.register_new_resolver(name, resolver, replace=True)
