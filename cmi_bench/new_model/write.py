"""Write a new model's files from their templates."""

import keyword
import re
from collections.abc import Collection
from pathlib import Path
from string import Template
from typing import NamedTuple

from cmi_bench.errors import UserError
from cmi_bench.reporting.atomic import write_text_atomic

TEMPLATES = Path(__file__).parent / "templates"
PACKAGE = "cmi_bench.models"
"""Where the adapter goes: beside the shipped ones, so that all that imports `cmi_bench` finds it."""
_NAME = re.compile(r"[a-z][a-z0-9_]*")


class NewModel(NamedTuple):
    """The files of a new model."""

    adapter: Path
    config: Path
    test: Path


def write_new_model(name: str, folder: Path, *, known: Collection[str]) -> NewModel:
    """Write an adapter that runs, its configuration and its test; nothing is overwritten.

    Args:
        name: What `model=` will be; also the module's name.
        folder: The project's.
        known: Names that `model=` has already.

    Raises:
        UserError: The name is no Python name in small letters or is taken, or a file is there already.
    """
    _check_name(name, known)
    files = NewModel(
        adapter=folder.joinpath(*PACKAGE.split("."), f"{name}.py"),
        config=folder / "conf" / "model" / f"{name}.yaml",
        test=folder / "tests" / "models" / f"test_{name}.py",
    )
    if there := [path for path in (*files, files.adapter.with_suffix("")) if path.exists()]:
        raise UserError(
            f"{', '.join(str(path) for path in there)} {'is' if len(there) == 1 else 'are'} there already.",
            "Nothing was written. Choose another name, or move the old files away.",
        )
    values = {"name": name, "class_name": class_name(name), "module": f"{PACKAGE}.{name}"}
    for path, template in zip(files, ("adapter.py.txt", "config.yaml.txt", "test.py.txt"), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        text = (TEMPLATES / template).read_text(encoding="utf-8")
        write_text_atomic(path, Template(text).substitute(values))
    return files


def class_name(name: str) -> str:
    """Return a module's class name.

    >>> class_name("my_model_2")
    'MyModel2'
    """
    return "".join(part.capitalize() for part in name.split("_"))


def _check_name(name: str, known: Collection[str]) -> None:
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise UserError(
            f"name={name!r} cannot be a model's name.",
            "Use small letters, digits and underscores, a letter first, such as my_model.",
        )
    if name in known:
        raise UserError(f"There is a model {name!r} already.", f"Choose another name; taken: {', '.join(known)}.")
