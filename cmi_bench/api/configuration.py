"""The benchmark's own configuration, for those who do not come by way of `run.py`."""

import os
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException, ValidationError

import cmi_bench
from cmi_bench.config import Config, register
from cmi_bench.entry import checked
from cmi_bench.errors import UserError
from cmi_bench.explain import explain
from cmi_bench.suggest import did_you_mean

CHECKOUT = Path(cmi_bench.__file__).resolve().parents[1]
"""The project's folder, where the package is used from it (`make env`, `pip install -e .`)."""
INSTALLED = Path("share/cmi_bench/conf")
"""Where other installations have `conf/`, below the environment's folder."""
FOR_EVERY_MODEL = ("init_kwargs", "score_kwargs")
"""Keys that may be given though a model's file does not have them."""


def is_checkout() -> bool:
    """Whether the package is used from the project's folder."""
    return (CHECKOUT / "conf" / "config.yaml").is_file()


def conf_folder() -> Path:
    """Return the folder of the configuration groups.

    Raises:
        UserError: It is not there.
    """
    installed = Path(sysconfig.get_path("data")) / INSTALLED
    folders = (CHECKOUT / "conf", installed)
    for folder in folders:
        if (folder / "config.yaml").is_file():
            return folder
    raise UserError(
        f"The models' configurations are neither in {folders[0]} nor in {folders[1]}.",
        "Install the package with pip from the project's folder: pip install -e . (or make env).",
    )


def compose_config(
    model: str | None = None,
    options: Mapping[str, Any] | None = None,
    *,
    values: Mapping[str, Any] | None = None,
    overrides: Sequence[str] = (),
) -> Config:
    """Compose the configuration of a run with a model.

    Args:
        model: Name of a configuration in `conf/model/`, or of a plugin's; None for the default.
        options: Values for keys of the `model` group, taken as they are.
        values: Values for other keys, such as "cache.dir"; None leaves one as it is.
        overrides: Anything else, in Hydra's words, as on `run.py`'s command line.

    Raises:
        UserError: A name, key or value is not right.
    """
    choice = [] if model is None else [f"model={model}"]
    try:
        register(project=CHECKOUT if is_checkout() else Path.cwd())
        with initialize_config_dir(str(conf_folder()), version_base="1.3"):
            cfg = compose("config", [*choice, *overrides])
        if not is_checkout() and cfg.cache.dir is not None:
            cfg.cache.dir = str(user_cache())
        _set_options(cfg, options or {})
        for key, value in (values or {}).items():
            if value is not None:
                _set(cfg, key, value)
        return checked(cfg)
    except (HydraException, OmegaConfBaseException) as error:
        # Hydra's own chain of causes is pages long, and says no more.
        raise UserError(explain(error) or str(error)) from None


def user_cache() -> Path:
    """Return the folder for embeddings and scores where there is no project to keep them in."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cmi-bench"


def _set(cfg: DictConfig, key: str, value: Any) -> None:
    try:
        OmegaConf.update(cfg, key, value)
    except ValidationError as error:
        raise UserError(f"{key}={value}: {str(error).splitlines()[0]}.") from None


def _set_options(cfg: DictConfig, options: Mapping[str, Any]) -> None:
    for key, value in options.items():
        known = [str(name) for name in cfg.model if name not in ("name", "_target_")]
        if key not in known and key not in FOR_EVERY_MODEL:
            hint = did_you_mean(key, known) if known else "It takes none."
            raise UserError(f"The model {cfg.model.name} has no option {key!r}.", hint)
        with open_dict(cfg.model):
            cfg.model[key] = value
