"""Which rows belong together: rows of one prompt are no independent observations."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cmi_bench.data import fields
from cmi_bench.data.labels import is_missing
from cmi_bench.evaluation.selection import ResultRow

PROMPT = "prompt"
NONE = "none"
CLUSTERINGS = (PROMPT, NONE)


def prompt_clusters(rows: Sequence[ResultRow]) -> NDArray[np.intp]:
    """Return a number for each row: the same for rows with the same prompt, its own for a row without one.

    Args:
        rows: N rows of one dataset.

    Returns:
        [N] from 0, in the order of first appearance.
    """
    number_of: dict[object, int] = {}
    # A row's number is unlike any prompt's text, so it stands for a prompt that nobody else has.
    prompts = [
        row.number if is_missing(row.raw.get(fields.PROMPT)) else str(row.raw[fields.PROMPT]).strip() for row in rows
    ]
    return np.array([number_of.setdefault(prompt, len(number_of)) for prompt in prompts], dtype=np.intp)


def dense(cluster: NDArray[np.intp], clustering: str) -> NDArray[np.intp]:
    """Number the clusters of some rows without gaps.

    Args:
        cluster: [n] from `prompt_clusters`, of any choice of rows.
        clustering: "prompt", or "none" to make each row a cluster of its own.

    Returns:
        [n] from 0 to C-1, each of them there.
    """
    if clustering == NONE:
        return np.arange(cluster.size)
    return np.unique(cluster, return_inverse=True)[1].astype(np.intp)
