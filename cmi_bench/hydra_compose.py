"""The benchmark's configuration for those who do not come from Hydra's own command line."""

from collections.abc import Mapping, Sequence
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException, ValidationError

from cmi_bench.config import Config
from cmi_bench.errors import UserError, did_you_mean
from cmi_bench.hydra_errors import explain
from cmi_bench.hydra_setup import model_word, registered
from cmi_bench.task_config import checked
from cmi_bench.utils.installation import conf_folder

FOR_EVERY_MODEL = ("init_kwargs", "score_kwargs")
"""Keys that may be given though a model's file does not have them."""


def compose_config(
    model: str | None = None,
    options: Mapping[str, Any] | None = None,
    *,
    values: Mapping[str, Any] | None = None,
    overrides: Sequence[str] = (),
) -> Config:
    """Compose the configuration of a run with a model.

    Args:
        model: Name of a configuration in `conf/model/`, or of a plugin's; None for the one that loads the checkpoint
            that is named, or the default.
        options: Values for keys of the `model` group, taken as they are.
        values: Values for other keys, such as "cache.dir"; None leaves one as it is.
        overrides: Anything else, in Hydra's words, as on `run.py`'s command line.

    Raises:
        UserError: A name, key or value is not right.
    """
    try:
        choice = model_word(overrides, (options or {}).get("checkpoint")) if model is None else [f"model={model}"]
        with registered(), initialize_config_dir(str(conf_folder()), version_base="1.3"):
            cfg = compose("config", [*choice, *overrides])
            _set_options(cfg, options or {})
            for key, value in (values or {}).items():
                if value is not None:
                    _set(cfg, key, value)
            return checked(cfg)
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        message = explain(error)
        if message is None:
            raise
        # Hydra's own chain of causes is pages long, and says no more.
        raise UserError(message) from None


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
