"""What a job of a sweep is, so that one that was finished need not be run again."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from cmi_bench.content import content_key

NO_MATTER = frozenset({"trainer", "workers", "jobs", "tracking", "cache", "sweep", "resume", "run_folders"})
"""Parts of the configuration that change neither scores nor metrics."""


def fingerprint(cfg: DictConfig) -> str:
    """Return a digest of a job's configuration and of what it names on disk.

    Files are known by size and time, as hashing gigabytes of weights would take as long as a small job. What is on
    the hub is known by its name.
    """
    telling = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key not in NO_MATTER])
    plain = OmegaConf.to_container(telling, resolve=True, enum_to_str=True)
    assert isinstance(plain, dict)
    named = [*_texts(plain.get("model")), str(plain["data"]["jsonl"])]
    return content_key(config=plain, files={name: _states(Path(name).expanduser()) for name in named})


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _texts(one)


def _states(path: Path) -> list[tuple[str, int, int]]:
    """Return name, size and time (ns) of a file, or of the files in a folder; nothing for what is not there."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    states = ((file.name, file.stat()) for file in files if file.is_file())
    return [(name, state.st_size, state.st_mtime_ns) for name, state in states]
