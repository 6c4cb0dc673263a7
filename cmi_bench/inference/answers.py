"""Read a model's answer: an array [N, 2] of numbers, or a clear word on what is wrong with it."""

from typing import Any

import numpy as np
import numpy.typing as npt

from cmi_bench.errors import RunError


class ContractError(RunError):
    """A model that answers in a form the benchmark cannot read."""


def checked_scores(answer: Any, count: int, model: str) -> npt.NDArray[np.float64]:
    """Return a model's answer as float64 [count, 2].

    Raises:
        ContractError: Another shape, another count, or not numbers; the message shows both.
    """
    array = np.asarray(answer)
    if array.shape != (count, 2):
        raise ContractError(
            f"{model}.score_batch returned shape {list(array.shape)} for {count} clips; expected [{count}, 2].",
            "Return one row per input: column 0 alignment, column 1 musicality (NaN for what is not judged).",
        )
    if not np.issubdtype(array.dtype, np.floating) and not np.issubdtype(array.dtype, np.integer):
        raise ContractError(
            f"{model}.score_batch returned dtype {array.dtype}; expected floating-point numbers.",
            "Convert the scores, e.g. np.asarray(scores, dtype=np.float32).",
        )
    return array.astype(np.float64)
