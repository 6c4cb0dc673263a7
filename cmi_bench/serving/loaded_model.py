"""A model that is served: what it is asked with, where it is loaded, and what is kept of its scores."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from cmi_bench.api.load import build_judge
from cmi_bench.config import Config
from cmi_bench.errors import RunError
from cmi_bench.models.base import BenchmarkModelABC
from cmi_bench.scoring.code_identity import code_identity
from cmi_bench.scoring.model_call import judged_by
from cmi_bench.scoring.store import kept_scores
from cmi_bench.serving.batch_scorer import BatchScorer
from cmi_bench.serving.queue import SongAnswer
from cmi_bench.serving.wire import ErrorCode, ModelDescription, ServedModel, Settings
from cmi_bench.types import Aspect, Score
from cmi_bench.utils.files import writing_to

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelToServe:
    """A model, by the name that requests call it by."""

    name: str
    config: Config
    """Which model, how it is asked, how it is batched, and where embeddings and scores are kept."""
    build: Callable[[Config, str], BenchmarkModelABC] = build_judge
    """Returns it on a device."""


class LoadedModel:
    """A model that is ready, on one device or several; what their threads share of it."""

    def __init__(self, spec: ModelToServe, scorers: Mapping[str, BatchScorer]) -> None:
        """Take a model.

        Args:
            spec: Its name and configuration.
            scorers: By device.
        """
        first = next(iter(scorers.values()))
        self.scorers = scorers
        self.call, model = first.call, first.call.model
        self.card = ServedModel(
            name=spec.name, identity=model.identity, weights=model.weights_digest, code=code_identity(model)
        )
        self.settings = Settings(
            max_dur=self.call.max_dur,
            precision=spec.config.precision.value,
            score_kwargs=dict(self.call.score_kwargs),
        )
        self._store = kept_scores(spec.config.cache, model.identity)
        self._lock = threading.Lock()
        self._judged: frozenset[Aspect] = frozenset()

    @property
    def description(self) -> ModelDescription:
        """What `GET /models` says of it."""
        model = self.call.model
        return ModelDescription(
            **self.card.model_dump(),
            settings=self.settings,
            sample_rate=int(model.sr),
            unused_inputs=sorted(model.unused_inputs),
            devices=list(self.scorers),
        )

    def lookup(self, keys: Sequence[str]) -> dict[str, Score]:
        """Return the scores that are kept of some requests; where they cannot be read, this is said."""
        if self._store is None:
            return {}
        try:
            return self._store.lookup(keys)
        except RunError as error:
            log.warning("Nothing is looked up: %s", error.what)
            return {}

    def keep(self, scores: Mapping[str, Score]) -> None:
        """Keep scores for later; where they cannot be, this is said, and they are answered all the same."""
        sound = {key: score for key, score in scores.items() if not score.error}
        if self._store is None or not sound:
            return
        try:
            with writing_to(self._store.folder, instead="give another --cache-dir"):
                self._store.append(sound)
        except RunError as error:
            log.warning("Scores are answered but not kept: %s", error.what)

    def close(self) -> None:
        """Let go of what was written to; at an address, send what waits."""
        for store in (self._store, *(scorer.embeddings for scorer in self.scorers.values())):
            if store is not None:
                store.close()

    def judge(self, answer: SongAnswer) -> SongAnswer:
        """Return an answer; one without a number that the model gives elsewhere, or without any, is a failure."""
        if answer.code is not None:
            return answer
        given = judged_by([answer.score])
        with self._lock:
            self._judged |= given
            missing = sorted(self._judged - given) or (list(Aspect) if not given else [])
        if not missing:
            return answer
        return SongAnswer.failed(ErrorCode.MODEL_FAILED, f"the model returned NaN for {' and '.join(missing)}")
