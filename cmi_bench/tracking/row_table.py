"""The scores row by row as a table, for trackers that show tables."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cmi_bench.data import fields
from cmi_bench.data.fields import SCORE_FIELD, SIDE_B
from cmi_bench.evaluation.samples import Samples
from cmi_bench.utils.json_lines import objects_at

MAX_ROWS = 5000
"""Rows of the table at most: the four test sets have 2,753."""
MAX_TEXT = 200
"""Characters of a text in it."""
NO_ROW = np.empty(0, dtype=np.intp)


def row_table(rows: Sequence[Mapping[str, Any]], samples: Sequence[Samples]) -> dict[str, list[Any]]:
    """Return the columns of a table of results, with a line for each of the first rows that were evaluated.

    Labels and predictions are as the metrics see them: mean opinion scores and scores, or for pairs sides (1 for clip
    A, -1 for clip B, 0 for both). Without a value: None.

    Args:
        rows: The lines of `results.jsonl`.
        samples: Those of the evaluation: the rows of each task of each dataset.
    """
    first = slice(MAX_ROWS)  # numbers of rows rise
    numbers: list[int] = np.unique(np.concatenate([NO_ROW, *(one.rows[first] for one in samples)]))[first].tolist()
    chosen = list(objects_at(rows, (number - 1 for number in numbers)))
    of_number = {number: place for place, number in enumerate(numbers)}
    dataset: list[str | None] = [None] * len(numbers)
    judged: dict[str, list[float | None]] = {}
    for one in samples:
        label = judged.setdefault(f"label {one.task.name}", [None] * len(numbers))
        prediction = judged.setdefault(f"prediction {one.task.name}", [None] * len(numbers))
        for number, said, predicted in zip(one.rows[first], one.label[first], one.prediction[first], strict=True):
            if (place := of_number.get(int(number))) is not None:
                dataset[place], label[place], prediction[place] = one.dataset.name, _known(said), _known(predicted)
    return {
        "dataset": dataset,
        "row": numbers,
        "clip A": [_text(row, fields.AUDIO_A) for row in chosen],
        "clip B": [_text(row, fields.AUDIO_B) for row in chosen],
        "prompt": [_text(row, fields.PROMPT) for row in chosen],
        **judged,
        **{
            f"{aspect} {side}": [row.get(field + suffix) for row in chosen]
            for aspect, field in SCORE_FIELD.items()
            for side, suffix in (("A", ""), ("B", SIDE_B))
        },
        "failure": [_text(row, fields.INFERENCE_ERROR) for row in chosen],
    }


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _text(row: Mapping[str, Any], field: str) -> str:
    text = str(row.get(field) or "")
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}\N{HORIZONTAL ELLIPSIS}"
