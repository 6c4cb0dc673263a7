"""Models whose result is known beforehand: to check the benchmark itself, from rows to tables.

`Constant` must give ties and undefined correlations, `Random` chance, `Oracle` perfection and `ReversedOracle` its
opposite. None of them decodes audio.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cmi_bench.data import fields
from cmi_bench.data.datasets import MosTask, Task, dataset_of_source
from cmi_bench.data.fields import Preference, parse_mos, parse_preference
from cmi_bench.errors import UserError
from cmi_bench.models.base import BenchmarkBatchInput, BenchmarkModelABC, LabelledRow
from cmi_bench.types import Aspect, Score

UNDECIDED = 0.5
"""An oracle's score of both clips of a tie, and of whatever nobody labelled."""
_SHARE_OF_WINNER = {Preference.A: (1.0, 0.0), Preference.B: (0.0, 1.0), Preference.BOTH: (UNDECIDED, UNDECIDED)}


class _KnownAnswer(BenchmarkModelABC):
    """A model that answers clip by clip without their audio."""

    @property
    def sr(self) -> int:
        """Sampling rate in Hz; no audio is read."""
        return 24000

    def score_batch(
        self,
        inputs: Sequence[BenchmarkBatchInput],
        batch_size: int,
        max_dur: float,
        **_kwargs: Any,
    ) -> npt.NDArray[np.float64]:
        """Score clips; see `BenchmarkModelABC.score_batch`."""
        return np.array([self._answer(item.clip_id).columns for item in inputs], dtype=np.float64).reshape(-1, 2)

    def _answer(self, clip_id: str) -> Score:
        raise NotImplementedError


class Constant(_KnownAnswer):
    """Gives every clip the same scores."""

    def __init__(self, *, alignment: float = 0.0, musicality: float = 0.0) -> None:
        self._score = Score(alignment, musicality)

    def _answer(self, clip_id: str) -> Score:
        return self._score


class Random(_KnownAnswer):
    """Gives each clip two scores in [0, 1) that are drawn from its `clip_id` and the seed.

    So the scores are the same in any order, batch, process or run, and differ from seed to seed.
    """

    def __init__(self, *, seed: int = 0) -> None:
        self.seed = seed

    def _answer(self, clip_id: str) -> Score:
        digest = hashlib.sha256(f"{self.seed}:{clip_id}".encode()).digest()
        alignment, musicality = (int.from_bytes(part) / 2**64 for part in (digest[:8], digest[8:16]))
        return Score(alignment, musicality)


class Oracle(_KnownAnswer):
    """Knows the labels: a clip with a mean opinion score gets that, a preferred clip 1 and the other 0.

    The benchmark hands it the rows by `bind_rows`. Both clips of a tie get 0.5, and so does what has no label.
    """

    needs_labels = True

    def __init__(self) -> None:
        self._answers: dict[str, Score] = {}

    def bind_rows(self, rows: Iterable[LabelledRow]) -> None:
        """Take the labels of the rows that will be scored.

        Raises:
            LabelError: A label is not understood.
        """
        for row in rows:
            first, second = _row_answers(row.raw)
            self._answers[f"{row.index}:a"], self._answers[f"{row.index}:b"] = first, second

    def _answer(self, clip_id: str) -> Score:
        try:
            return self._answers[clip_id]
        except KeyError:
            raise UserError(
                f"The oracle knows no label of clip {clip_id!r}.",
                "It answers only for rows that were given to bind_rows; the benchmark does so itself.",
            ) from None


class ReversedOracle(Oracle):
    """Knows the labels and gives the opposite: the oracle's scores with their sign turned."""

    def _answer(self, clip_id: str) -> Score:
        score = super()._answer(clip_id)
        return Score(-score.alignment, -score.musicality)


def _row_answers(raw: Mapping[str, Any]) -> tuple[Score, Score]:
    """Return the right scores of a row's clips; for a row with one clip only the first is of use."""
    dataset = dataset_of_source(str(raw.get(fields.SOURCE, "")))
    answers = dict.fromkeys(Aspect, (UNDECIDED, UNDECIDED))
    for task in dataset.tasks if dataset else ():
        answers[task.aspect] = _task_answers(task, raw)
    sides = zip(answers[Aspect.ALIGNMENT], answers[Aspect.MUSICALITY], strict=True)
    first, second = (Score(alignment, musicality) for alignment, musicality in sides)
    return first, second


def _task_answers(task: Task, raw: Mapping[str, Any]) -> tuple[float, float]:
    label = raw.get(task.label_field)
    if isinstance(task, MosTask):
        mos = parse_mos(label, task.scale)
        return (UNDECIDED if mos is None else mos, UNDECIDED)
    return _SHARE_OF_WINNER[parse_preference(label) or Preference.BOTH]
