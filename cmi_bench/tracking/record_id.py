"""`record.json` in a training's folder: what it is recorded as, so that it goes on there when it is resumed."""

import json
from pathlib import Path

from cmi_bench.utils.files import json_text, write_text_atomic

RECORD_FILE = "record.json"


def write_record_id(folder: Path, kind: str, record: str) -> None:
    """Write what a training is recorded as.

    Args:
        folder: The training's.
        kind: What records it: "mlflow".
        record: A name for it there: MLflow's id of the run.
    """
    write_text_atomic(folder / RECORD_FILE, json_text({"kind": kind, "record": record}))


def read_record_id(folder: Path, kind: str) -> str | None:
    """Return what a training was recorded as; None if it was not, or elsewhere."""
    try:
        found = json.loads((folder / RECORD_FILE).read_text(encoding="utf-8"))
        return str(found["record"]) if found["kind"] == kind else None
    except (OSError, ValueError, KeyError, TypeError):  # the first start, or half a file
        return None
