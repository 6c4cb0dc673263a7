"""Scores kept by content as they are made, so that a run that was killed goes on where it stopped."""

import json
import logging
import math
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

log = logging.getLogger(__name__)

NAMES = ("alignment", "musicality")


class StoredScore(NamedTuple):
    """One judgement, by what was judged."""

    key: str
    """Content address of the request; see `requests.request_key`."""
    alignment: float
    """NaN where the model does not judge alignment."""
    musicality: float
    """NaN where the model does not judge musicality."""


class ScoreStore:
    """A folder of append-only JSONL files, one for each process that ever wrote.

    A process never appends to a file it did not begin, so a line cut off by a kill stays the last
    of its file and is passed over by every reader; and processes never wait for each other.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._own = folder / f"{uuid.uuid4().hex}.jsonl"

    def append(self, scores: Iterable[StoredScore]) -> None:
        """Add scores and hand them to the operating system: they outlive this process.

        Raises:
            OSError: No space, or the folder cannot be written.
        """
        lines = "".join(json.dumps(_to_json(score)) + "\n" for score in scores)
        if not lines:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        # One write of whole lines: a reader, or a kill, meets complete lines but for the last one.
        with self._own.open("ab", buffering=0) as file:
            file.write(lines.encode())

    def read(self) -> dict[str, StoredScore]:
        """Return all scores by key; of a key that was scored twice, the same one whoever reads."""
        found: dict[str, StoredScore] = {}
        for path in sorted(self.folder.glob("*.jsonl")):
            for number, line in enumerate(path.read_bytes().splitlines(), start=1):
                score = _from_line(line)
                if score is None:
                    log.debug("%s, line %d is not whole; its clip is scored again", path, number)
                else:
                    found.setdefault(score.key, score)
        return found

    def clear(self) -> None:
        """Forget all scores (`resume=false`)."""
        for path in self.folder.glob("*.jsonl"):
            path.unlink(missing_ok=True)


def _to_json(score: StoredScore) -> dict[str, Any]:
    """Write NaN as null: JSON has no NaN."""
    return {
        "key": score.key,
        "alignment": None if math.isnan(score.alignment) else score.alignment,
        "musicality": None if math.isnan(score.musicality) else score.musicality,
    }


def _from_line(line: bytes) -> StoredScore | None:
    """Return a line's score, None where the line is damaged: what is not whole is made anew, never believed."""
    try:
        value = json.loads(line)
        alignment, musicality = (math.nan if value[name] is None else float(value[name]) for name in NAMES)
        return StoredScore(str(value["key"]), alignment, musicality)
    except (ValueError, TypeError, KeyError):
        return None
