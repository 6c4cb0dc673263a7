"""Have the mini benchmark there, built at most once however many processes ask."""

import shutil
from pathlib import Path

from filelock import FileLock

from cmi_bench.data.mini.build import MINI_VERSION, ROWS_FILE, build_mini
from cmi_bench.data.mini.stamp import STAMP_FILE, is_intact
from cmi_bench.errors import UserError


def ensure_mini(root: Path) -> Path:
    """Build the mini benchmark where it is absent, incomplete or of another version.

    The folder belongs to the generator: building anew replaces it as a whole.

    Args:
        root: Data root of the mini benchmark.

    Returns:
        The rows' file, `<root>/all_test.jsonl`.

    Raises:
        UserError: The folder holds something else, which is left alone.
    """
    root = root.absolute()
    rows_file = root / ROWS_FILE
    if is_intact(root, rows_file, MINI_VERSION):
        return rows_file
    root.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(_sibling(root, "lock")):
        # Another process may have built it while this one waited.
        if not is_intact(root, rows_file, MINI_VERSION):
            _rebuild(root)
    return rows_file


def _sibling(root: Path, purpose: str) -> Path:
    return root.with_name(f".{root.name}.{purpose}")


def _rebuild(root: Path) -> None:
    """Build beside the folder and move the result into its place; only the holder of the lock comes here."""
    if root.exists() and any(root.iterdir()) and not (root / STAMP_FILE).exists():
        raise UserError(
            f"{root} is not empty and was not made by the mini benchmark's generator.",
            "Choose another folder for the mini data, or remove this one.",
        )
    building, outdated = _sibling(root, "building"), _sibling(root, "outdated")
    for leftover in (building, outdated):
        shutil.rmtree(leftover, ignore_errors=True)
    build_mini(building)
    if root.exists():
        root.replace(outdated)
    building.replace(root)
    shutil.rmtree(outdated, ignore_errors=True)
