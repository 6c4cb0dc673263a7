"""The benchmark's entry point: compose the configuration, hand it to the task.

`python run.py --help` shows the configuration groups and examples.
"""

import hydra
from omegaconf import DictConfig

from cmi_bench.hydra_setup import register
from cmi_bench.main import explain_errors, run_task
from cmi_bench.sweeps.callback import completed_sweep


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def run(cfg: DictConfig) -> None:
    """Run the task named in the configuration."""
    run_task(cfg)


if __name__ == "__main__":
    register()
    with explain_errors(), completed_sweep():
        run()
