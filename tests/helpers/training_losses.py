"""The group `loss` as Hydra makes it, without the rest of a configuration."""

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from cmi_bench.training.objective import Objective
from cmi_bench.training_config import LossConfig
from cmi_bench.utils.installation import conf_folder


def loss_config(name: str = "cmi_rm_stage2", **settings: Any) -> LossConfig:
    """Return a file of conf/loss with settings of its own."""
    given = OmegaConf.load(Path(conf_folder()) / "loss" / f"{name}.yaml")
    merged = OmegaConf.merge(OmegaConf.structured(LossConfig), given, OmegaConf.create(settings))
    return OmegaConf.to_object(merged)


def objective_of(name: str = "cmi_rm_stage2", **settings: Any) -> Objective:
    """Return the objective of such a configuration."""
    return Objective(loss_config(name, **settings))
