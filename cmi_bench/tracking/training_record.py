"""`record.json` in a training's folder: what it is recorded as, so that it goes on there when it is resumed."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from cmi_bench.utils.files import json_text, write_text_atomic

RECORD_FILE = "record.json"


@dataclass(frozen=True)
class TrainingRecord:
    """What a training is recorded as."""

    kind: str
    """What records it: "mlflow"."""
    name: str
    """A name for it there: MLflow's id of the run."""
    last_steps: Mapping[str, int] = field(default_factory=dict)
    """The last point of each curve that was sent; of stores that cannot be asked for it."""


def write_training_record(record: TrainingRecord, folder: Path) -> None:
    """Write what a training is recorded as into its folder."""
    write_text_atomic(folder / RECORD_FILE, json_text(asdict(record)))


def read_training_record(folder: Path, kind: str) -> TrainingRecord | None:
    """Return what a training was recorded as; None if it was not, or elsewhere."""
    try:
        record = TrainingRecord(**json.loads((folder / RECORD_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # the first start, or half a file
        return None
    return record if record.kind == kind else None
