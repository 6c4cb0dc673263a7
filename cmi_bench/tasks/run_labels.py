"""Names by which runs are told apart in tables: the model's, and what else it takes."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

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


def run_labels(runs: Sequence[RunFacts]) -> list[str]:
    """Return a label for each run, as short as it can be for all to differ.

    The model's name where that is enough; then with the settings in which runs of that model differ; then
    with the run's folder, and its parent's. Runs that are one and the same are numbered.
    """
    labels = [_name(run) for run in runs]
    attempts: list[Callable[[RunFacts, list[RunFacts]], str]] = [
        _settings_apart,
        lambda run, _: run.results.absolute().parent.name,
        lambda run, _: "/".join(run.results.absolute().parts[-3:-1]),
    ]
    for attempt in attempts:
        counts = Counter(labels)
        for name in [label for label, count in counts.items() if count > 1]:
            members = [at for at, label in enumerate(labels) if label == name]
            alike = [runs[at] for at in members]
            said = [attempt(run, alike) for run in alike]
            if len(set(said)) == len(said):
                for at, text in zip(members, said, strict=True):
                    labels[at] = f"{name} ({text})"
    return _numbered(labels)


def _name(run: RunFacts) -> str:
    name = run.metadata.get("model", {}).get("name")
    if name:
        return str(name)
    return run.results.absolute().parent.name if run.results.name == "results.jsonl" else run.results.stem


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
