"""`evaluate`: the metrics of scored rows. Nothing here imports torch."""

from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from cmi_bench.api.results import Results
from cmi_bench.config import MetricSettings
from cmi_bench.data.audio_info import Durations
from cmi_bench.data.rows import read_results, results_file
from cmi_bench.evaluation import evaluate as evaluation
from cmi_bench.utils.json_lines import JsonLines


def evaluate(
    results: str | PathLike[str] | Iterable[Mapping[str, Any]],
    settings: MetricSettings | None = None,
    *,
    durations: Durations | None = None,
) -> Results:
    """Compare a model's scores with what people said.

    Args:
        results: A run's folder, a `results.jsonl`, or the rows of one: a benchmark row's own fields and the
            predicted ones.
        settings: Protocol, groups and intervals; None for the defaults, which are those of `run.py`.
        durations: How long the clips are, for `MetricSettings(by_duration=True)`.

    Returns:
        `summary`: a record for each task of each dataset, with `n`, `metrics` (by name: SRCC, LCC, K-Tau, ACC; None
        where undefined) and their `intervals`; `detail`: the same by group; `notes`. Also `to_dataframe()` and
        `to_disk(folder)`; a notebook shows a table.

    Raises:
        UserError: The file is not there, empty or not readable; a label is not understood.

    >>> from cmi_bench import evaluate
    >>> row = {"source": "MusicEval", "split": "test", "inference_valid_a": True}
    >>> rows = [row | {"musicality": mos, "predicted_musicality": mos / 5} for mos in (2.0, 3.5, 5.0, 1.0)]
    >>> record = evaluate(rows).summary[0]
    >>> record.dataset, record.n, record.metrics["SRCC"]
    ('MusicEval', 4, 1.0)
    >>> table = evaluate(rows).to_dataframe()
    >>> table.loc[table.metric == "SRCC", ["dataset", "value", "n"]].values.tolist()
    [['MusicEval', 1.0, 4]]
    """
    if not isinstance(results, str | PathLike):
        rows = results if isinstance(results, JsonLines) else list(results)
        return Results.of(evaluation.evaluate(rows, settings, durations=durations))
    path = results_file(Path(results))
    found = evaluation.evaluate(read_results(path), settings, durations=durations, origin=str(path))
    return Results.of(found, label=path.absolute().parent.name)
