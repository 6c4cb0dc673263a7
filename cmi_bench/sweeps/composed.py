"""The configurations of a sweep's jobs, each composed once.

Hydra composes a job twice, to see before the first one that all can be, and when it starts; the plan has done so
before. That is a tenth of a second each time, as long as loading a model.
"""

import copy
from collections.abc import Callable
from typing import Any

from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig

Compose = Callable[[DictConfig, list[str]], DictConfig]
"""Returns a job's configuration, given the sweep's and the job's overrides."""
REMEMBERED = 256
"""Jobs at most, of 0.2 MB each; those beyond are composed whenever they are asked for."""


class ComposedJobs:
    """Composes a job at the first time that it is asked for, and remembers it; takes the place of Hydra's method.

    A process that joblib starts remembers nothing of it, and composes the jobs that it runs.
    """

    def __init__(self, compose: Compose) -> None:
        self._compose = compose
        self._jobs: dict[tuple[str, ...], DictConfig] = {}
        """By overrides."""

    def __call__(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """Return a job's configuration, which is the caller's to change."""
        words = (*master_config.hydra.overrides.hydra, *sweep_overrides)
        job = self._jobs.get(words)
        if job is None:
            job = self._compose(master_config, sweep_overrides)
            if len(self._jobs) == REMEMBERED:
                return job
            self._jobs[words] = job
        return copy.deepcopy(job)

    def __getstate__(self) -> dict[str, Any]:
        return {"_compose": self._compose, "_jobs": {}}


def compose_once(loader: ConfigLoader) -> None:
    """Have Hydra compose each job of a sweep once in this process."""
    loader.load_sweep_config = ComposedJobs(loader.load_sweep_config)  # type: ignore[method-assign]
