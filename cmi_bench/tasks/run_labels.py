"""What runs are called in a comparison: as short as it can be for all to differ."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cmi_bench.data.rows import RESULTS_FILE
from cmi_bench.tracking.description import run_name
from cmi_bench.tracking.metadata import look_up

TELLING = ("model", "max_dur", "precision", "batch_size", "seed")
"""Parts of the configuration that make two runs of one model different runs."""
MAX_VALUE = 32
"""Characters of a value in a label."""
MAX_SETTINGS = 3
"""Where runs differ in more, a folder's name says it better."""


class RunFacts(NamedTuple):
    """What a run can be named by."""

    results: Path
    """Its results file."""
    metadata: Mapping[str, Any]
    """What it wrote of itself; empty if nothing."""
    job: str = ""
    """What it is called in its sweep; empty outside of one."""


def run_labels(runs: Sequence[RunFacts]) -> list[str]:
    """Return a label for each run, as short as it can be for all to differ.

    A job is called what it is called in its sweep, with its model where there are several. Other runs have their
    model's name where that is enough; then with the settings in which runs of that name differ; then with the run's
    folder (of a job the sweep's), and its parent's. Runs that are one and the same are numbered.
    """
    one_model = len({_model(run) for run in runs}) == 1
    labels = [_name(run, one_model=one_model) for run in runs]
    attempts: list[Callable[[RunFacts, list[RunFacts]], str]] = [
        _settings_apart,
        lambda run, _: _folder(run).name,
        lambda run, _: "/".join(_folder(run).parts[-2:]),
    ]
    for attempt in attempts:
        counts = Counter(labels)
        for name in [label for label, count in counts.items() if count > 1]:
            members = [at for at, label in enumerate(labels) if label == name]
            alike = [runs[at] for at in members]
            texts = [attempt(run, alike) for run in alike]
            if len(set(texts)) == len(texts):
                for at, text in zip(members, texts, strict=True):
                    labels[at] = f"{name} ({text})"
    return _numbered(labels)


def _model(run: RunFacts) -> str:
    return str(look_up(run.metadata, "model", "name") or "")


def _folder(run: RunFacts) -> Path:
    folder = run.results.absolute().parent
    return folder.parent if run.job else folder


def _name(run: RunFacts, *, one_model: bool) -> str:
    if run.job:
        return run.job if one_model else run_name(_model(run), run.job)
    return _model(run) or _file_name(run)


def _file_name(run: RunFacts) -> str:
    return run.results.absolute().parent.name if run.results.name == RESULTS_FILE else run.results.stem


def _settings_apart(run: RunFacts, alike: list[RunFacts]) -> str:
    settings = [_flat(one.metadata.get("config", {})) for one in alike]
    keys = dict.fromkeys(key for one in settings for key in one)
    apart = [key for key in keys if key != "model.name" and len({one.get(key) for one in settings}) > 1]
    if len(apart) > MAX_SETTINGS:
        return ""
    own = _flat(run.metadata.get("config", {}))
    return ", ".join(f"{key.rpartition('.')[2]}={_short(own.get(key, ''))}" for key in apart)


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return the telling leaves of a configuration by their dotted keys."""
    flat: dict[str, str] = {}
    for key, value in config.items():
        if prefix or key in TELLING:
            nested = isinstance(value, Mapping)
            flat |= _flat(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": str(value)}
    return flat


def _short(value: str) -> str:
    """A path says most in its last part."""
    last = value.rstrip("/").rpartition("/")[2]
    return last if len(last) <= MAX_VALUE else f"{last[: MAX_VALUE - 1]}…"


def _numbered(labels: Sequence[str]) -> list[str]:
    counts, seen = Counter(labels), Counter[str]()
    numbered = []
    for label in labels:
        seen[label] += 1
        numbered.append(f"{label} #{seen[label]}" if counts[label] > 1 else label)
    return numbered
