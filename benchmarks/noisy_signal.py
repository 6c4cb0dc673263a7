"""Checkpoints of a model that gets better as it is trained, for pictures of sweeps: a file of one number."""

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file

from cmi_bench.models.base import BenchmarkBatchInput
from cmi_bench.models.signal.model import SignalBaseline
from cmi_bench.utils.files import content_key, file_digest

STEPS = {500: 1.2, 1000: 0.6, 1500: 0.3, 2000: 0.15}
"""By training step, how much noise is left in the scores."""
WEIGHTS = "model.safetensors"


def write_checkpoints(folder: Path) -> None:
    """Write a checkpoint for each step: `step_500/model.safetensors`, and so on."""
    for step, noise in STEPS.items():
        (folder / f"step_{step}").mkdir(parents=True)
        save_file({"noise": np.array([noise])}, folder / f"step_{step}" / WEIGHTS)


class NoisySignal(SignalBaseline):
    """The signal baseline, with noise that is settled by the clip and the checkpoint."""

    def __init__(self, checkpoint: str) -> None:
        self.weights = Path(checkpoint) / WEIGHTS
        self.noise = float(load_file(self.weights)["noise"][0])

    @property
    def digest(self) -> str:
        """SHA-256 of the weights."""
        return file_digest(self.weights)

    @property
    def identity(self) -> str:
        """What settles a score besides the clip and `max_dur`."""
        return content_key(signal=super().identity, weights=self.digest)

    def score_batch(
        self, inputs: Sequence[BenchmarkBatchInput], batch_size: int, max_dur: float, **kwargs: Any
    ) -> npt.NDArray[np.float64]:
        """Score clips; see `BenchmarkModelABC.score_batch`."""
        scores = super().score_batch(inputs, batch_size, max_dur, **kwargs)
        seeds = [zlib.crc32(np.asarray(item.audio).tobytes()) for item in inputs]
        noise = np.array([np.random.default_rng(seed).normal(size=2) for seed in seeds]).reshape(-1, 2)
        return np.asarray(scores + self.noise * noise)
