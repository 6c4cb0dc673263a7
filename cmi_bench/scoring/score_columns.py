"""Many scores, kept as columns: a million of them take 16 MB, as objects with their clips' ids they would take 300."""

from array import array
from collections.abc import Iterable, Sequence
from typing import overload

import numpy as np
import numpy.typing as npt

from cmi_bench.models.base import ALIGNMENT_COLUMN, MUSICALITY_COLUMN
from cmi_bench.scoring.model_call import nan_is_failure
from cmi_bench.types import Aspect, Score

WIDTH = 2
"""Numbers of a score, and of what a member of an ensemble says: alignment, musicality."""
PLACE = {Aspect.ALIGNMENT: ALIGNMENT_COLUMN, Aspect.MUSICALITY: MUSICALITY_COLUMN}


class ScoreColumns(Sequence[Score]):
    """Scores in the order in which they were added: 16 bytes each, of an ensemble 16 more for each member.

    Reasons of failures are kept as they are, which are the exception.
    """

    def __init__(self, scores: Iterable[Score] = ()) -> None:
        self._values = array("d")
        self._members = array("d")
        self._member_ends = array("q")
        """Where each score's members end; empty while no score has any."""
        self._errors: dict[int, str] = {}
        self.extend(scores)

    def extend(self, scores: Iterable[Score]) -> None:
        """Add scores at the end."""
        for score in scores:
            if score.error:
                self._errors[len(self)] = score.error
            if score.members and not self._member_ends:
                self._member_ends.extend([0] * len(self))
            self._values.extend(score.columns)
            if self.is_ensemble or score.members:
                self._members.extend(number for member in score.members for number in member)
                self._member_ends.append(len(self._members))

    @property
    def is_ensemble(self) -> bool:
        """Whether any score has members."""
        return bool(self._members)

    @property
    def failed(self) -> int:
        """How many are failures."""
        return len(self._errors)

    def column(self, aspect: Aspect) -> npt.NDArray[np.float64]:
        """Return a copy of all scores of an aspect [scores]; NaN where there is none."""
        return np.array(self._values, dtype=np.float64).reshape(-1, WIDTH)[:, PLACE[aspect]]

    def fail_partial_nan(self) -> None:
        """Turn a NaN in a column that has numbers elsewhere into a failure of that clip; see `mark_partial_nan`."""
        columns = {aspect: self.column(aspect) for aspect in Aspect}
        judged = frozenset(aspect for aspect, values in columns.items() if not np.isnan(values).all())
        if not judged:
            return
        lacking = np.isnan([columns[aspect] for aspect in judged]).any(axis=0)
        for place in np.flatnonzero(lacking).tolist():
            if error := nan_is_failure(self[place], judged).error:
                self._errors[place] = error

    def __len__(self) -> int:
        return len(self._values) // WIDTH

    @overload
    def __getitem__(self, index: int) -> Score: ...
    @overload
    def __getitem__(self, index: slice) -> list[Score]: ...
    def __getitem__(self, index: int | slice) -> Score | list[Score]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        if place in self._errors:
            return Score.failed(self._errors[place])
        alignment, musicality = self._values[WIDTH * place : WIDTH * (place + 1)]
        return Score(alignment, musicality, members=self._members_of(place))

    def _members_of(self, place: int) -> tuple[tuple[float, float], ...]:
        if not self._member_ends:
            return ()
        start = self._member_ends[place - 1] if place else 0
        numbers = self._members[start : self._member_ends[place]]
        return tuple(zip(numbers[::WIDTH], numbers[1::WIDTH], strict=True))
