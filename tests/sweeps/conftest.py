"""Sweeps in this process: Hydra's own multirun, without the cost of starting `run.py`."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from cmi_bench.hydra_setup import register
from cmi_bench.main import run_task
from cmi_bench.sweeps.callback import completed_sweep

PROJECT = Path(__file__).parents[2]

MODELS = '''
import os
import signal
from pathlib import Path
from weakref import WeakSet

import numpy as np


class Sleeper:
    """Gives noise; a file named after its `max_dur` makes it fail, die or stop."""

    sr = 16000
    calls = []
    alive = WeakSet()
    others = []

    def __init__(self, checkpoint=None):
        self.others.append(len(self.alive))
        self.alive.add(self)
        self.checkpoint = checkpoint

        if checkpoint:  # its name and what it holds
            self.digest = Path(checkpoint).read_text() or Path(checkpoint).name

    def score_batch(self, inputs, batch_size, max_dur, **kwargs):
        self.calls.append(self.checkpoint or max_dur)
        if Path(f"fails_{max_dur:g}").exists():
            raise RuntimeError("boom")
        if Path(f"dies_{max_dur:g}").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        if Path(f"stops_{max_dur:g}").exists():
            raise KeyboardInterrupt
        return np.random.default_rng(int(max_dur)).normal(size=(len(inputs), 2))
'''


@pytest.fixture
def multirun() -> Callable[..., None]:
    """`run.py -m` with these words."""

    def run(*words: str) -> None:
        register()
        quiet = ["hydra.mode=MULTIRUN", "hydra/job_logging=none", "hydra/hydra_logging=none"]
        with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"), completed_sweep():
            hydra = GlobalHydra.instance().hydra
            hydra.multirun("config", run_task, [*quiet, *words], with_log_configuration=False)

    return run


@pytest.fixture
def sweep(tiny, tmp_path, monkeypatch, multirun) -> Callable[..., None]:
    """The same with `Sleeper` on the tiny benchmark, in `tmp_path`, into the folder "sweep"."""
    (tmp_path / "sweep_models.py").write_text(MODELS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)

    def run(*words: str, folder: Path = tmp_path / "sweep") -> None:
        multirun(
            "model=custom", "model.class_path=sweep_models:Sleeper", f"data.root={tiny}",
            f"data.jsonl={tiny}/all_test.jsonl", "+device=cpu", "workers=0", "tracking=none", "cache=off",
            "metrics.report=false", "metrics.resamples=50", f"hydra.sweep.dir={folder}", *words,
        )  # fmt: skip

    yield run
    sys.modules.pop("sweep_models", None)
