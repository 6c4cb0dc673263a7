"""The ledger of looks at test sets, `eval_budget.jsonl`: one line each time that weights were scored on one.

Who chooses among checkpoints by figures of a test set reports too good a figure, the more so the more there were to
choose from. The ledger keeps how many there were. A *look* is one checkpoint on one test set: to score the same weights
on it once more tells nothing new and counts once, though every time has its line.
"""

import json
import logging
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cmi_bench.errors import UserError
from cmi_bench.models.checkpoint_names import (
    IN_A_FOLDER,
    WEIGHTS_SUFFIXES,
    checkpoint_name,
    parse_hub_name,
    step_of,
)
from cmi_bench.tracking.description import describe_model
from cmi_bench.tracking.metadata import look_up
from cmi_bench.tracking.scored_data import recorded_datasets
from cmi_bench.utils.documents import parse_json
from cmi_bench.utils.files import open_regular, without_credentials
from cmi_bench.utils.waiting import locked

log = logging.getLogger(__name__)

TEST = "test"
"""The split whose rows are looked at sparingly."""
LOOKS = "test_set_looks"
"""Where it is recorded how many checkpoints of a run's training were scored on its test sets, with that of the run."""


@dataclass(frozen=True)
class Look:
    """Weights scored on a test set; the fields are those of a line."""

    time: str
    data: str
    """The name of `data`: the rows of "mini" are synthetic."""
    dataset: str
    dataset_digest: str
    """Of the rows and their audio: another one where only some rows were scored."""
    rows: int
    weights: str
    """Digest of the weights; where a model has none, of its settings with the checkpoint's name."""
    model: str
    checkpoint: str
    training: str
    """What tells the weights' training from others: its id, the folder or the repository of its checkpoints; or the
    weights themselves."""
    run: str
    """The run's folder."""


def looks_of(metadata: Mapping[str, Any], run: Path) -> list[Look]:
    """Return a run's looks at test sets; none where it scored no weights, or rows of another split.

    Args:
        metadata: The run's, as in `metadata.json`.
        run: Its folder.
    """
    facts, config = look_up(metadata, "model") or {}, look_up(metadata, "config") or {}
    spec, data = config.get("model") or {}, config.get("data") or {}
    weights = _weights(spec, facts)
    if weights is None or data.get("split") != TEST:
        return []
    checkpoint = spec.get("checkpoint") or ""
    return [
        Look(
            time=datetime.now(UTC).isoformat(timespec="seconds"),
            data=str(data.get("name")),
            dataset=dataset.name,
            dataset_digest=dataset.digest,
            rows=dataset.rows,
            weights=weights,
            model=str(facts.get("name")),
            checkpoint=without_credentials(checkpoint),
            training=look_up(facts, "training", "run") or _training(checkpoint) or weights,
            run=str(run.absolute()),
        )
        for dataset in recorded_datasets(metadata).values()
    ]


def _weights(spec: Mapping[str, Any], facts: Mapping[str, Any]) -> str | None:
    if digest := facts.get("weights") or facts.get("digest"):
        return str(digest)
    is_known = {"name", "class", "code", "digest"} <= facts.keys()  # not of a run of an early version
    return describe_model(spec, facts).key if spec.get("checkpoint") and is_known else None


def _training(checkpoint: str) -> str:
    """Return the folder or the repository that a checkpoint is one of several in; "" for one whose name has no step."""
    if not checkpoint or step_of(checkpoint_name(checkpoint)) is None:
        return ""
    path, hub = Path(checkpoint).expanduser(), parse_hub_name(checkpoint)
    if hub is not None and hub.revision and not path.exists():
        return hub.repo
    if path.suffix in WEIGHTS_SUFFIXES and path.stem in IN_A_FOLDER:
        path = path.parent
    return str(path.resolve().parent)


LOCK_SECONDS = 30.0


def record_looks(file: Path, looks: Iterable[Look]) -> None:
    """Append looks to the ledger, whatever other processes append; where that fails it is a warning.

    Args:
        file: The ledger.
        looks: Those of a run.
    """
    text = "".join(f"{json.dumps(asdict(look), ensure_ascii=False)}\n" for look in looks)
    if not text:
        return
    try:
        with locked(file.with_name(f".{file.name}.lock"), seconds=LOCK_SECONDS, what=f"writes {file}"):
            _append(file, text)
    except (OSError, UserError) as error:
        reason = error.what if isinstance(error, UserError) else error.strerror
        log.warning("That the test sets were looked at could not be written to %s: %s", file, reason)


def _append(file: Path, text: str) -> None:
    with file.open("ab+") as opened:
        if opened.tell():
            opened.seek(-1, os.SEEK_END)
            if opened.read(1) != b"\n":  # a line that was cut off, as on a disk that was full
                text = f"\n{text}"
        opened.write(text.encode())
        opened.flush()
        os.fsync(opened.fileno())


def read_ledger(file: Path) -> list[Look]:
    """Return the looks of a ledger; none where there is no such file. What is no look is left out with a warning."""
    try:
        with open_regular(file) as opened:
            lines = opened.read().decode("utf-8", errors="replace").split("\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        log.warning("%s cannot be read: %s", file, error.strerror)
        return []
    found, wrong = [], []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                found.append(Look(**parse_json(line, f"{file}, line {number}")))
            except (TypeError, UserError):
                wrong.append(number)
    if wrong:
        log.warning(
            "%s: %d lines are no looks (the first is line %d); they are not counted.", file, len(wrong), wrong[0]
        )
    return found


def count_looks(ledger: Sequence[Look], looks: Sequence[Look]) -> int:
    """Return how many checkpoints of the training of a run were scored on its test sets, on the one with most of them.

    Args:
        ledger: All looks, those of the run among them or not.
        looks: Those of the run; none come to 0.
    """
    # What a checkpoint was of is known best by the line that was written when it was there.
    training = {look.weights: look.training for look in reversed((*ledger, *looks))}
    seen: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for look in (*ledger, *looks):
        seen[training[look.weights], look.data, look.dataset].add(look.weights)
    return max((len(seen[training[look.weights], look.data, look.dataset]) for look in looks), default=0)
