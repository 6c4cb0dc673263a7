"""A model, and a loader of audio, that write down what they do, and kill their process once where they are told to."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cmi_bench.errors import RunError
from cmi_bench.models.base import BenchmarkModelABC
from cmi_bench.scoring.stages import InputLoader


def die_once(mark: Path) -> None:
    """Kill this process as the system does, unless one has died here before."""
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)


class NotedModel(BenchmarkModelABC):
    """Scores a waveform by its loudness; a file gets the number of samples of each that is scored."""

    audio_input = "waveform"
    sr = 8000
    identity = "noted"

    def __init__(self, notes: str, dies_at: int = 0, gives_up_at: int = 0):
        """Say where things go wrong, by numbers of samples.

        Args:
            notes: The file; a second one beside it marks that a process has died.
            dies_at: The first process that is to score such a waveform dies; if negative, each does.
            gives_up_at: Such a waveform ends the run.
        """
        self._notes, self._dies_at, self._gives_up_at = Path(notes), dies_at, gives_up_at

    def score_batch(self, inputs, batch_size, max_dur, **kwargs):
        lengths = [len(one.audio) for one in inputs]
        if -self._dies_at in lengths:
            os.kill(os.getpid(), signal.SIGKILL)
        if self._dies_at in lengths:
            die_once(self._notes.with_suffix(".died"))
        if self._gives_up_at in lengths:
            raise RunError("The model gives up.", "Let it.")
        with self._notes.open("a") as file:
            file.writelines(f"{length}\n" for length in lengths)
        return np.array([[len(one.text), float(one.audio.abs().mean())] for one in inputs])


@dataclass(frozen=True)
class DyingLoader(InputLoader):
    """Ends processes that read some files."""

    once: str = ""
    """Name of a file that kills the first process that reads it."""
    always: str = ""
    """Name of a file that kills each."""

    def input_of(self, clip):
        """Read one, or die."""
        if clip.audio.name == self.always:
            os.kill(os.getpid(), signal.SIGKILL)
        if clip.audio.name == self.once:
            die_once(clip.audio.with_suffix(".died"))
        return super().input_of(clip)
