"""The state that a training goes on from: files written whole or not at all, and checked when they are read.

Which folder that is when the same command is run again, `training.resume` knows.
"""

import hashlib
import io
import logging
import re
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import CheckpointIO

from cmi_bench.training.history import ELSEWHERE
from cmi_bench.utils.files import write_bytes_atomic, writing_to

log = logging.getLogger(__name__)

STATE_FOLDER = "state"
"""In a training's folder, while it runs: what it can go on from."""
FINISHED = "finished.state"
"""What a finished training came to; a state like the others, from which there is nothing to do."""
KEPT_STATES = 2
"""The last ones; of a damaged one the one before is taken."""
DIGEST_BYTES = 32
_STATE = re.compile(r"step_(\d+)\.state")


class StateFiles(CheckpointIO):
    """Lightning's states as files: the SHA-256 of what follows, and what `torch.save` makes of it."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a state; the older ones than the last two go.

        Raises:
            RunError: The disk is full, or the folder cannot be written to; the last state is still there.
        """
        file = Path(path)
        content = io.BytesIO()
        torch.save(checkpoint, content)
        document = content.getvalue()
        with writing_to(file.parent, instead=ELSEWHERE):
            write_bytes_atomic(file, hashlib.sha256(document).digest() + document)
        for old in states(file.parent)[:-KEPT_STATES]:
            old.unlink(missing_ok=True)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Read a state.

        Raises:
            ValueError: It is not as it was written.
        """
        content = Path(path).read_bytes()
        document = content[DIGEST_BYTES:]
        if hashlib.sha256(document).digest() != content[:DIGEST_BYTES]:
            raise ValueError(f"{path} is not as it was written.")
        state: dict[str, Any] = torch.load(io.BytesIO(document), map_location="cpu", weights_only=True)
        return state

    def remove_checkpoint(self, path: Any) -> None:
        """Remove a state."""
        Path(path).unlink(missing_ok=True)


def state_file(folder: Path, step: int) -> Path:
    """Return the file of the state after some steps.

    Args:
        folder: The training's.
        step: How many.
    """
    return folder / STATE_FOLDER / f"step_{step:06d}.state"


def states(folder: Path) -> list[Path]:
    """Return the files of states in a folder of them, the latest last."""
    found = [(int(match[1]), path) for path in folder.glob("step_*.state") if (match := _STATE.fullmatch(path.name))]
    return [path for _, path in sorted(found)]


def last_state(folder: Path) -> Path | None:
    """Return the last state in a training's folder that is as it was written; None where there is none."""
    for path in (folder / STATE_FOLDER / FINISHED, *reversed(states(folder / STATE_FOLDER))):
        if not path.is_file():
            continue
        content = path.read_bytes()
        if hashlib.sha256(content[DIGEST_BYTES:]).digest() == content[:DIGEST_BYTES]:
            return path
        log.warning("%s is damaged: the training goes on from the state before, if there is one.", path)
    return None


def write_finished(folder: Path, outcome: dict[str, Any]) -> None:
    """Write what a training came to, instead of the states to go on from.

    Raises:
        RunError: The disk is full, or the folder cannot be written to.
    """
    StateFiles().save_checkpoint(outcome, folder / STATE_FOLDER / FINISHED)
    for path in states(folder / STATE_FOLDER):
        path.unlink(missing_ok=True)


def step_of(state: Path) -> int:
    """Return after how many steps a state was written."""
    match = _STATE.fullmatch(state.name)
    assert match is not None
    return int(match[1])
