"""Which of a run's processes this is, known before Lightning is loaded."""

import os


def process_rank() -> int:
    """Return this process's rank: 0 for the only process or the first.

    Launchers say it in the environment: `RANK` (torchrun), `SLURM_PROCID` (srun), or `LOCAL_RANK`
    (Lightning, for the processes it starts).
    """
    return next((int(os.environ[name]) for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK") if os.environ.get(name)), 0)


def is_rank_zero() -> bool:
    """Whether this process is the one that speaks, merges and tracks."""
    return process_rank() == 0
