"""`task=new_model name=my_model`: write an adapter of your own, its configuration and its test."""

from pathlib import Path

from hydra.core.global_hydra import GlobalHydra

import cmi_bench
from cmi_bench.config import Config
from cmi_bench.errors import UserError
from cmi_bench.new_model.write import write_new_model
from cmi_bench.reporting.console import print_view

PROJECT = Path(cmi_bench.__file__).resolve().parents[1]
"""Where `run.py` is, and so this file."""


def run(config: Config, folder: Path) -> None:
    """Write the files into the project, and say what comes next; nothing is written to `folder`.

    Raises:
        UserError: The name is missing, cannot be used or is taken.
    """
    if config.name is None:
        raise UserError("The new model has no name.", "python run.py task=new_model name=my_model")
    known = GlobalHydra.instance().config_loader().get_group_options("model")
    files = write_new_model(config.name, PROJECT, known=known)
    print_view("Wrote:")
    for path in files:
        print_view(f"  {_short(path)}")
    print_view(
        f"Next:\n  python run.py task=conformance model={config.name}\n"
        f"  python run.py model={config.name} data=mini\n"
        f"  python -m pytest {_short(files.test)}"
    )


def _short(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
