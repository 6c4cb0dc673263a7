"""Hydra's own sweeper, over jobs that are recorded and compared."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser


class RecordedSweeper(BasicSweeper):
    """Runs every job whatever becomes of the others, and then says what became of each."""

    def sweep(self, arguments: list[str]) -> Any:
        """Run the jobs of `-m` and of the recipe; see `hydra.plugins.sweeper.Sweeper`.

        Raises:
            UserError: A job failed, or was not run.
        """
        # Not for those who run no sweep: Hydra loads its plugins at every start.
        from cmi_bench.sweeps.callback import launch_all, recorded_sweep

        assert self.config is not None
        assert self.launcher is not None
        batches = self._batches(arguments)
        for batch in batches:
            self.validate_batch_is_legal(batch)
        jobs = [job for batch in batches for job in batch]
        with recorded_sweep(self.config, jobs, recipe_keys=list(self.params)):
            launch_all(batches, self.launcher.launch, Path(self.config.hydra.sweep.dir))

    def _batches(self, arguments: list[str]) -> list[Sequence[Sequence[str]]]:
        """Return each job's overrides; where the command line and the recipe name one key, the command line counts."""
        assert self.hydra_context is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = parser.parse_overrides([*self._parse_config(), *arguments])
        return list(self.split_arguments(overrides, self.max_batch_size))
