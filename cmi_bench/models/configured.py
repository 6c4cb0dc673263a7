"""The model that a run's configuration describes."""

from pathlib import Path

from cmi_bench.config import Config
from cmi_bench.models.build import build_model
from cmi_bench.models.contract import RewardModel

DIGESTS = "digests"
"""Folder in `cache.dir` for digests of weights."""


def configured_model(config: Config, device: str) -> RewardModel:
    """Build the model that a configuration names, on a torch device.

    Raises:
        UserError: As `build_model`.
    """
    return build_model(
        config.model,
        device=device,
        precision=config.precision.value,
        compile=config.compile,
        digest_dir=Path(config.cache.dir) / DIGESTS if config.cache.dir else None,
    )
