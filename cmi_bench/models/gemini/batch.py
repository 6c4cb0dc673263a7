"""Several clips in flight at once."""

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field

from cmi_bench.audio.errors import AudioError
from cmi_bench.errors import RunError
from cmi_bench.models.contract import Score
from cmi_bench.models.gemini.outcomes import ClipError, StoppedError
from cmi_bench.models.gemini.pace import Pace

log = logging.getLogger(__name__)


@dataclass
class Outcomes:
    """What a batch came to, by question."""

    scores: dict[str, Score] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    """Why there is no score."""


def ask_all(questions: Mapping[str, Callable[[], Score]], pace: Pace, *, in_flight: int) -> Outcomes:
    """Put questions, several at a time, and wait for all of them.

    Where the run ends early, what is in flight is waited for: it is paid for, and kept.

    Args:
        questions: What asks each one.
        pace: Stops whoever waits when the run is over.
        in_flight: How many at a time.

    Raises:
        RunError: No further question can be answered.
        KeyboardInterrupt: The user stopped the run.
    """
    outcomes = Outcomes()
    pace.stop.clear()
    with ThreadPoolExecutor(in_flight) as pool:
        futures = {pool.submit(_ask, ask, pace): key for key, ask in questions.items()}
        try:
            for future in as_completed(futures):
                _sort(future, futures[future], outcomes)
        except BaseException as error:
            pace.stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            if isinstance(error, KeyboardInterrupt):
                log.info("Waiting for the answers that are on their way: they are paid for.")
            raise
    return outcomes


def _ask(ask: Callable[[], Score], pace: Pace) -> Score:
    try:
        return ask()
    except RunError:
        pace.stop.set()  # here, not where it is waited for: this thread would begin the next question meanwhile
        raise


def _sort(future: "Future[Score]", key: str, outcomes: Outcomes) -> None:
    try:
        outcomes.scores[key] = future.result()
    except AudioError as error:
        outcomes.reasons[key] = error.what
    except ClipError as error:
        outcomes.reasons[key] = str(error)
    except StoppedError:
        pass  # another question has the error that ends the run
