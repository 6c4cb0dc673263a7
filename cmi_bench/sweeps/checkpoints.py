"""The checkpoints in a folder, in the order of training."""

from fnmatch import fnmatchcase
from pathlib import Path

from cmi_bench.errors import UserError
from cmi_bench.models.checkpoint_name import WEIGHTS_SUFFIXES, checkpoint_name
from cmi_bench.sweeps.steps import step_order


def find_checkpoints(folder: Path, pattern: str) -> list[Path]:
    """Return the checkpoints of a folder by step, those whose name tells none last.

    A checkpoint is a file of weights in the folder, or a folder in it that holds one.

    Args:
        folder: Where they are.
        pattern: As the shell writes it: only names that match are taken, such as "step_*".

    Raises:
        UserError: There is no such folder, or none in it.
    """
    if not folder.is_dir():
        raise UserError(f"sweep.dir={folder} is no folder.", "Name the folder that holds the checkpoints.")
    found = [path for path in folder.iterdir() if fnmatchcase(path.name, pattern) and _is_checkpoint(path)]
    if not found:
        matching = "" if pattern == "*" else f" whose name matches sweep.pattern={pattern}"
        raise UserError(
            f"There is no checkpoint{matching} in {folder}.",
            f"A checkpoint is a {', '.join(WEIGHTS_SUFFIXES)} file in it, or a folder with one.",
        )
    return sorted(found, key=lambda path: step_order(checkpoint_name(str(path))))


def _is_checkpoint(path: Path) -> bool:
    if path.is_dir():
        return any(file.suffix in WEIGHTS_SUFFIXES for file in path.iterdir())
    return path.suffix in WEIGHTS_SUFFIXES
