"""Read the `metadata.json` of a run that was made before."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)


def read_metadata(path: Path) -> dict[str, Any] | None:
    """Return what a run wrote of itself; None, with a warning unless it is simply not there, if it cannot be read.

    Nothing is computed from it: a run whose metadata are damaged can still be listed and evaluated.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        log.warning("%s cannot be read (%s): going on without what it says of the run.", path, error)
        return None
    if not isinstance(found, dict):
        log.warning("%s is no JSON object: going on without what it says of the run.", path)
        return None
    return found


def look_up(metadata: Mapping[str, Any] | None, *path: str) -> Any:
    """Return what is at a path of keys; None where one of them is missing, or leads to no object."""
    found: Any = metadata
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found
