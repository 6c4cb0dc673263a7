"""Paths that come from outside, kept inside the data root."""

from pathlib import Path, PurePosixPath

from cmi_bench.errors import UserError


def is_inside(path: str) -> bool:
    """Tell whether a relative path stays in the folder that it is relative to, by its words alone.

    >>> is_inside("human_eval/music/a.wav"), is_inside("../a.wav"), is_inside("music/../../a.wav"), is_inside("/a.wav")
    (True, False, False, False)
    """
    slashed = path.replace("\\", "/")
    drive = len(slashed) > 1 and slashed[1] == ":"
    return bool(slashed) and not slashed.startswith("/") and not drive and ".." not in PurePosixPath(slashed).parts


def inside(root: Path, path: str, *, named_in: str) -> Path:
    """Return a file of the data root.

    Raises:
        UserError: The path leads out of it.
    """
    if not is_inside(path):
        raise UserError(
            f"{named_in} names {path!r}, which leads out of its folder.", "Do not use it; get it again from its origin."
        )
    return root / path
