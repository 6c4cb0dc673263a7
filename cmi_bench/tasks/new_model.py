"""`task=new_model name=my_model`: an adapter of your own, its configuration and its test, from templates."""

import keyword
import re
from collections.abc import Collection
from importlib.util import find_spec
from pathlib import Path
from string import Template
from typing import NamedTuple

from hydra.core.global_hydra import GlobalHydra

from cmi_bench.errors import UserError
from cmi_bench.task_config import NewModelTask
from cmi_bench.utils.console import print_view
from cmi_bench.utils.files import write_text_atomic
from cmi_bench.utils.installation import command_line, is_checkout, project_folder

TEMPLATES = Path(__file__).parent / "templates"
PACKAGE = "cmi_bench.models"
"""Where the adapter goes in a checkout: beside the shipped ones, so that all that imports `cmi_bench` finds it."""
_NAME = re.compile(r"[a-z][a-z0-9_]*")


class NewModel(NamedTuple):
    """The files of a new model."""

    adapter: Path
    config: Path
    test: Path


def write_new_model(name: str, folder: Path, *, known: Collection[str], package: str = PACKAGE) -> NewModel:
    """Write an adapter that runs, its configuration and its test; nothing is overwritten.

    Args:
        name: What `model=` will be; also the module's name.
        folder: The project's.
        known: Names that `model=` has already.
        package: What the adapter becomes a module of; "" for a module by itself.

    Raises:
        UserError: The name is no Python name in small letters or is taken, or a file is there already.
    """
    _check_name(name, known)
    files = NewModel(
        adapter=folder.joinpath(*package.split("."), f"{name}.py"),
        config=folder / "conf" / "model" / f"{name}.yaml",
        test=folder.joinpath("tests", *package.split(".")[1:], f"test_{name}.py"),
    )
    if there := [path for path in (*files, files.adapter.with_suffix("")) if path.exists()]:
        raise UserError(
            f"{', '.join(str(path) for path in there)} {'is' if len(there) == 1 else 'are'} there already.",
            "Nothing was written. Choose another name, or move the old files away.",
        )
    if not package and find_spec(name) is not None:
        raise UserError(f"There is a Python module {name!r} already.", "Choose another name.")
    values = {"name": name, "class_name": class_name(name), "module": f"{package}.{name}".lstrip(".")}
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


def run_new_model(config: NewModelTask, folder: Path) -> None:
    """Write the files into the project, and say what comes next; nothing is written to `folder`.

    Raises:
        UserError: The name is missing, cannot be used or is taken.
    """
    if config.name is None:
        raise UserError("The new model has no name.", command_line("task=new_model", "name=my_model"))
    known = GlobalHydra.instance().config_loader().get_group_options("model")
    # Nobody else's package is written into: the current folder gets a module, and a folder for --config-dir.
    package, where = (PACKAGE, []) if is_checkout() else ("", ["--config-dir", "conf"])
    files = write_new_model(config.name, project_folder(), known=known, package=package)
    print_view("Wrote:")
    for path in files:
        print_view(f"  {_short(path)}")
    print_view(
        f"Next:\n  {command_line('task=conformance', *where, f'model={config.name}')}\n"
        f"  {command_line(*where, f'model={config.name}', 'data=mini')}\n"
        f"  python -m pytest {_short(files.test)}"
    )


def _short(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
