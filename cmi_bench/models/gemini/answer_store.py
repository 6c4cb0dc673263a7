"""Every raw answer, kept as it comes: what was paid for once is not paid for again."""

import json
import logging
import threading
import uuid
from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from cmi_bench.errors import RunError
from cmi_bench.models.gemini.answer import RawAnswer
from cmi_bench.models.gemini.key import Key

log = logging.getLogger(__name__)

SETTINGS = "settings.json"


class KeptAnswer(NamedTuple):
    """One answer of the service, of whatever kind."""

    key: str
    """Content address of the question."""
    time: str
    """When it came, ISO 8601, UTC."""
    dollars: float
    """What it cost, by the price table of that day."""
    raw: RawAnswer


class AnswerStore:
    """Answers by question: in memory, and from `open` on in a folder of append-only JSONL files.

    As with scores, a process never appends to a file that it did not begin: a line that a kill cut off stays the
    last of its file, and is passed over.
    """

    def __init__(self, secret: Key) -> None:
        """Begin in memory.

        Args:
            secret: What no line may show, whatever the service repeats in its answers.
        """
        self._secret = secret
        self._answers: defaultdict[str, list[KeptAnswer]] = defaultdict(list)
        self._file: Path | None = None
        self._lock = threading.Lock()

    def open(self, folder: Path, settings: Mapping[str, Any], *, read: bool) -> None:
        """Keep answers in a folder.

        Args:
            folder: Where; one for each identity.
            settings: What the answers were asked with, written beside them for people.
            read: Whether the answers that are there already are used. They are kept in any case.

        Raises:
            RunError: The folder cannot be written to.
        """
        if read:
            for path in sorted(folder.glob("*.jsonl")):
                self._read(path)
        self._file = folder / f"{uuid.uuid4().hex}.jsonl"
        if not (folder / SETTINGS).exists():
            self._write(folder / SETTINGS, json.dumps(settings, indent=2, ensure_ascii=False) + "\n")

    def __len__(self) -> int:
        return len(self._answers)

    def of(self, key: str) -> list[KeptAnswer]:
        """Return the answers to a question, the newest first."""
        with self._lock:
            return sorted(self._answers.get(key, ()), key=lambda one: one.time, reverse=True)

    def add(self, key: str, raw: RawAnswer, *, dollars: float) -> None:
        """Keep an answer; when this returns it outlives the process.

        Raises:
            RunError: It cannot be written.
        """
        answer = KeptAnswer(key, datetime.now(UTC).isoformat(), round(dollars, 6), raw)
        with self._lock:
            self._answers[key].append(answer)
            if self._file is not None:
                self._write(self._file, json.dumps(answer._asdict(), ensure_ascii=False) + "\n")

    def _read(self, path: Path) -> None:
        for number, line in enumerate(path.read_bytes().splitlines(), start=1):
            try:
                answer = KeptAnswer(**json.loads(line))
            except (ValueError, TypeError):
                log.debug("%s, line %d is not whole", path, number)
            else:
                self._answers[answer.key].append(answer)

    def _write(self, path: Path, text: str) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # One write of a whole line: a reader, or a kill, meets complete lines but for the last one.
            with path.open("ab", buffering=0) as file:
                file.write(self._secret.hide(text).encode())
        except OSError as error:
            raise RunError(
                f"Answers cannot be kept in {path.parent}: {error.strerror}.",
                "Make room, or set cache.dir to another disk; then run again: it goes on.",
            ) from error
