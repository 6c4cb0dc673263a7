"""What a model behind a paid service may say and be told beyond the contract."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable


class ClipAhead(NamedTuple):
    """A clip that is about to be scored."""

    audio: Path
    text: str
    lyrics: str
    ref_audio: Path | None
    seconds: float | None
    """Length of the clip's file; None where its header does not say."""
    ref_seconds: float | None
    """Length of the reference's file; None where there is none, or its header does not say."""


class WorkAhead(NamedTuple):
    """What a run is about to ask of a model."""

    clips: Sequence[ClipAhead]
    """What no earlier run has scored; on rank 0 only."""
    max_dur: float
    """Seconds of each file that may be looked at."""
    folder: Path
    """Where the run keeps the scores: a place for what belongs to them."""
    processes: int
    """How many share the work."""
    resume: bool
    """Whether what earlier runs left is to be used."""


@runtime_checkable
class RemoteModel(Protocol):
    """A reward model that sends clips to a service, waits rather than computes, and has to be paid."""

    @property
    def clips_at_once(self) -> int:
        """How many clips it would like in one call of `score_batch`, instead of the run's `batch_size`."""

    def prepare(self, work: WorkAhead) -> None:
        """Hear what is coming, in each process, before the first `score_batch`.

        Raises:
            RunError: The run is not to start, such as for its cost.
        """

    def finish(self) -> None:
        """Hear that nothing more is coming, also where the run ends early."""
