"""What a run that Weights & Biases recorded offline holds: its file is a LevelDB log of protocol buffers.

The format: https://github.com/google/leveldb/blob/main/doc/log_format.md, after a header of seven bytes.
"""

import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

HEADER, BLOCK = 7, 32 * 1024
FULL, LAST = 1, 4


class OfflineRun(NamedTuple):
    name: str
    project: str
    group: str
    tags: list[str]
    notes: str
    config: dict[str, Any]
    metrics: dict[str, Any]
    """The last value of each."""
    files: set[str]
    """Of its artifact."""
    exit_code: int


def _records(content: bytes) -> Iterator[bytes]:
    at, parts = HEADER, []
    while at + HEADER <= len(content):
        if BLOCK - at % BLOCK < HEADER:  # too little left of a block for a record
            at += BLOCK - at % BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", content, at)
        parts.append(content[at + HEADER : at + HEADER + length])
        at += HEADER + length
        if at > len(content):  # half written
            return
        if kind in (FULL, LAST):
            yield b"".join(parts)
            parts = []


def _items(items: Any) -> dict[str, Any]:
    return {"/".join(one.nested_key) or one.key: json.loads(one.value_json) for one in items}


def _finished(file: Path) -> list[Any]:
    """Return a run's records; another process, which finishes a run, may still be writing them."""
    from wandb.proto import wandb_internal_pb2

    for _ in range(300):
        found = [wandb_internal_pb2.Record.FromString(content) for content in _records(file.read_bytes())]
        if any(record.HasField("exit") for record in found):
            return found
        time.sleep(0.1)
    raise TimeoutError(f"{file} does not end.")


def read_offline_run(folder: Path) -> OfflineRun:
    """Read the only run in a folder that Weights & Biases was given, once it has ended."""
    (file,) = folder.glob("wandb/offline-run-*/*.wandb")
    records = _finished(file)
    (run,) = (record.run for record in records if record.HasField("run"))
    (exit_code,) = (record.exit.exit_code for record in records if record.HasField("exit"))
    config, metrics, files = {}, {}, set()
    for record in records:
        config |= _items(record.run.config.update) | _items(record.config.update)
        metrics |= _items(record.history.item)
        files |= {one.path for one in record.artifact.manifest.contents}
    return OfflineRun(
        run.display_name, run.project, run.run_group, list(run.tags), run.notes, config, metrics, files, exit_code
    )
