"""What the judge is asked with, and how."""

from dataclasses import asdict, dataclass

from cmi_bench.content import content_key

FORM = 1
"""Raised whenever what is sent, or how an answer is read, changes in a way that no setting tells."""


@dataclass(frozen=True)
class JudgeSettings:
    """What settles an answer besides the clip: the identity of the scores."""

    judge: str
    """Google's name of the model."""
    prompt: str
    """What the judge is told to do; the system instruction."""
    temperature: float
    thinking_budget: int | None
    """Tokens that the judge may think for; None leaves it to the judge."""
    sr: int
    """Hz of the audio that is sent."""
    base_url: str | None
    """Where it is sent; None for Google's own address."""

    def identity(self) -> str:
        """Return the content address of all of it."""
        return content_key(model="gemini", form=FORM, **asdict(self))


@dataclass(frozen=True)
class CallSettings:
    """How calls are made; none of it changes a score."""

    in_flight: int
    """Clips that are asked about at the same time."""
    requests_per_minute: float
    max_output_tokens: int
    """Bound of thoughts and answer together; an answer that is whole does not depend on it."""
    attempts: int
    """Calls for one clip before it counts as failed."""
    backoff: float
    """Seconds before the second attempt, doubled for each further one, unless the service says how long."""
    timeout: float
    """Seconds that a call may take."""
    inline_mb: float
    """Audio of one question, in 10^6 bytes, that goes into the request itself; more than that is uploaded first."""
