"""SongEval's own weights, which are in its repository on GitHub and not on the hub."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cmi_bench.data.prepare.fetch import Download
from cmi_bench.data.prepare.host import Host
from cmi_bench.data.prepare.work import Work
from cmi_bench.errors import UserError
from cmi_bench.models.hub import CONFIG, WEIGHTS
from cmi_bench.models.parts import tensor_shapes
from cmi_bench.urls import without_credentials

HOST = Host("The server of SongEval's repository", "sources.songeval")
TARGET = "cmi_bench.models.songeval.SongEvalRM"
FOLDER = "SongEval"
"""A folder of this name is taken for a copy of the repository."""


def songeval_works(spec: Mapping[str, Any], url: str) -> list[Work]:
    """Return what has to be fetched: the files of the repository that `model.checkpoint` lacks, if it is a copy of it.

    Args:
        spec: The composed `model` group.
        url: Where the repository's files are.
    """
    folder = Path(str(spec.get("checkpoint"))).expanduser()
    if spec.get("_target_") != TARGET or folder.name != FOLDER:
        return []
    missing = [file for file in (CONFIG, f"ckpt/{WEIGHTS}") if not _is_right(folder / file)]
    if not missing:
        return []
    base = url.rstrip("/")
    return [
        Work(
            slug="checkpoint",
            name=f"SongEval, {' and '.join(missing)}",
            origin=without_credentials(base),
            folder=folder,
            downloads=[Download(f"{base}/{file}", folder / file, HOST) for file in missing],
            files=len(missing),
        )
    ]


def _is_right(file: Path) -> bool:
    if file.suffix != ".safetensors" or not file.is_file():
        return file.is_file()
    try:
        tensor_shapes(file)
    except UserError:
        return False
    return True
