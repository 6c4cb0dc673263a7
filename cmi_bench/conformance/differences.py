"""Whether scores that must be equal are, and how far they are apart."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cmi_bench.conformance.finding import FailedCheckError

Scores = npt.NDArray[np.float64]
"""[N, 2]: column 0 alignment, column 1 musicality."""
TOLERANCES = {"32": 1e-4, "bf16": 0.02}
"""Largest difference by precision, of scores up to 1 in size; of larger scores, in proportion. bfloat16 has 8 bits."""
COLUMNS = ("alignment", "musicality")


class Comparison(NamedTuple):
    """How scores are compared."""

    tolerance: float
    """For scores up to 1 in size."""
    spread: tuple[float, float]
    """Largest less smallest score among the clips, by column; 0 where that is not known."""

    def check(self, found: Scores, wanted: Scores, names: Sequence[str]) -> str:
        """Return the largest difference in words.

        Args:
            found: [N, 2].
            wanted: [N, 2].
            names: What the N clips are called.

        Raises:
            FailedCheckError: A score differs by more than the tolerance, or is a number on one side only.
        """
        one_sided = np.argwhere(np.isnan(found) != np.isnan(wanted))
        if len(one_sided):
            row, column = one_sided[0]
            raise FailedCheckError(
                f"{COLUMNS[column]} of {names[row]} is {found[row, column]:.6g}, was {wanted[row, column]:.6g}."
            )
        difference = np.nan_to_num(np.abs(found - wanted))
        allowed = self.tolerance * np.maximum(1.0, np.nan_to_num(np.abs(wanted)))
        row, column = map(int, np.unravel_index(np.argmax(difference / allowed), difference.shape))
        worst = difference[row, column]
        if worst <= allowed[row, column]:
            return f"Largest difference {difference.max():.1g}."
        share = f", {worst / self.spread[column]:.1%} of the clips' spread" if self.spread[column] > 0 else ""
        raise FailedCheckError(
            f"{COLUMNS[column]} of {names[row]} is {found[row, column]:.6g}, was {wanted[row, column]:.6g}: a"
            f" difference of {worst:.2g}{share}; allowed is {allowed[row, column]:.1g}."
        )


def spread_of(scores: Scores) -> tuple[float, float]:
    """Return, by column, how far scores [N, 2] reach; 0 where a column has no two numbers."""
    reach = []
    for column in scores.T:
        known = column[np.isfinite(column)]
        reach.append(float(np.ptp(known)) if len(known) else 0.0)
    return reach[0], reach[1]
