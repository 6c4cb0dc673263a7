"""A benchmark for music reward models: how well do their scores agree with people?

`run` runs the benchmark, of a model by its name or in memory; `load_model` scores music of your own; `evaluate`
computes the metrics of a results file, `compare` tells which differences between runs are real. They, and what they
take and return, are imported when they are first used: most of the package needs neither torch nor a model.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cmi_bench.api.compare import ComparedRuns, compare
    from cmi_bench.api.evaluate import evaluate
    from cmi_bench.api.load import load_model
    from cmi_bench.api.ranking import RankedSong
    from cmi_bench.api.results import Results, RunResults
    from cmi_bench.api.reward import TensorReward
    from cmi_bench.api.run import run
    from cmi_bench.api.scorer import SongScorer
    from cmi_bench.api.songs import Song, SongScore
    from cmi_bench.config import MetricSettings
    from cmi_bench.errors import UserError


__version__ = "0.1.0"

__all__ = [
    "ComparedRuns",
    "MetricSettings",
    "RankedSong",
    "Results",
    "RunResults",
    "Song",
    "SongScore",
    "SongScorer",
    "TensorReward",
    "UserError",
    "compare",
    "evaluate",
    "load_model",
    "run",
]

_HOME = {
    "ComparedRuns": "cmi_bench.api.compare",
    "MetricSettings": "cmi_bench.config",
    "RankedSong": "cmi_bench.api.ranking",
    "Results": "cmi_bench.api.results",
    "RunResults": "cmi_bench.api.results",
    "Song": "cmi_bench.api.songs",
    "SongScore": "cmi_bench.api.songs",
    "SongScorer": "cmi_bench.api.scorer",
    "TensorReward": "cmi_bench.api.reward",
    "UserError": "cmi_bench.errors",
    "compare": "cmi_bench.api.compare",
    "evaluate": "cmi_bench.api.evaluate",
    "load_model": "cmi_bench.api.load",
    "run": "cmi_bench.api.run",
}
"""Public name to the module that has it."""


if not TYPE_CHECKING:  # type checkers know the names from above, and find those that are none

    def __getattr__(name: str) -> Any:
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
