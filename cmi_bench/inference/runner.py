"""What drives stages: Lightning's predict loop in a run, a plain loop for a few songs."""

from typing import TYPE_CHECKING, Any, Protocol

from cmi_bench.inference.plan import BatchLimits

if TYPE_CHECKING:
    from cmi_bench.inference.stage import Stage


class Runner(Protocol):
    """Does the work of stages, one after the other."""

    @property
    def processes(self) -> int:
        """How many share the work."""

    def run(self, stage: "Stage[Any, Any]", *, limits: BatchLimits | None = None) -> None:
        """Do all of a stage's work; returns in all processes when it is done in all.

        Args:
            stage: The work.
            limits: How large this stage's batches may get, where that is not the runner's to say.
        """

    def wait(self, reason: str) -> None:
        """Return when all processes have come here; `reason` is for those who look why one does not."""
